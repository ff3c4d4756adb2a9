"""A chat from its options to its end."""

from __future__ import annotations

from collections.abc import Callable

from kosent_hub.chatting.options import Options
from kosent_hub.chatting.partner import Settings, load_partners
from kosent_hub.chatting.words import places
from model_card.publishing import session


def chat(options: Options, announce: Callable[[str], None] = print) -> None:
    """Talk to a model in the terminal, or on a page until interrupted; `announce` is given the
    page's address.

    Raises KoSentError for what the user can fix, and huggingface_hub's errors when the Hub refuses.
    """
    session.install()
    settings = Settings(options.temperature, options.max_new_tokens)
    if options.terminal:
        from kosent_hub.chatting.terminal import talk

        talk(load_partners(options), settings)
        return
    from kosent_hub.chatting.page.server import check_gradio, listen, on_loopback, serve

    check_gradio()
    with listen(options.port) as port:
        partners = load_partners(options)
        from kosent_hub.chatting.page.app import build

        site, address = on_loopback(port)
        page = build(partners, settings, places(partners.sent_to))
        serve(page, port, site, ready=lambda: announce(address))
