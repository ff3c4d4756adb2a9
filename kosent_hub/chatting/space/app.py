"""The page as a Space runs it: the app.py that `kosent-chat --space` writes calls this."""

from __future__ import annotations

import os
import sys

from kosent_hub.chatting.options import Options
from kosent_hub.chatting.partner import Settings, load_partners
from kosent_hub.chatting.words import IN_SPACE
from model_card.publishing.errors import KoSentError, run_command

# Where the Hub looks for the page of a Space.
PORT = 7860


def run(options: Options) -> int:
    """Exit status of the page, served until the Space is stopped."""
    return run_command("kosent-chat", lambda: _run(options))


def _run(options: Options) -> None:
    hosts = [host for host in os.environ.get("SPACE_HOST", "").split(",") if host]
    if not hosts:
        raise KoSentError(
            "SPACE_HOST",
            "is not set, so this is no Space of the Hub",
            f"talk to the model on this machine with kosent-chat {options.model}",
        )
    # Gradio that knows of its Space has the browser ask huggingface.co about it, which the page's
    # content policy forbids, and shows no page without an answer.
    os.environ.pop("SYSTEM", None)
    from kosent_hub.chatting.page.app import build
    from kosent_hub.chatting.page.server import listen, on_space, serve
    from kosent_hub.models.machine import quiet
    from model_card.publishing import session

    session.install()
    quiet.silence()
    partners = load_partners(options)
    page = build(partners, Settings(options.temperature, options.max_new_tokens), IN_SPACE)
    number = int(os.environ.get("GRADIO_SERVER_PORT", PORT))
    with listen(number, os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0")) as port:
        serve(page, port, on_space(hosts), ready=lambda: _say(partners.model.name))


def _say(name: str) -> None:
    print(f"{name} is ready", file=sys.stderr, flush=True)
