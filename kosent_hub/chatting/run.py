"""A chat from its options to its end."""

from __future__ import annotations

from kosent_hub.chatting.options import Options
from kosent_hub.chatting.partner import Settings, load_partners
from model_card.publishing import session


def chat(options: Options) -> None:
    """Talk to a model in the terminal, or on a page until interrupted.

    Raises KoSentError for what the user can fix, and huggingface_hub's errors when the Hub refuses.
    """
    session.install()
    settings = Settings(options.temperature, options.max_new_tokens)
    from kosent_hub.chatting.terminal import talk

    talk(load_partners(options), settings)
