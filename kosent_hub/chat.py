"""Talk to a model, any Hub id, adapter or run folder: on a page of this machine or a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields

from kosent_hub.chatting.options import Options
from kosent_hub.evaluation.options import DTYPES
from model_card.publishing.errors import KoSentError, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-chat`."""
    return run_command("kosent-chat", lambda: _chat(argv))


def _chat(argv: Sequence[str] | None) -> None:
    given = vars(_parser().parse_args(argv))
    space, public, replace = (given.pop(name) for name in ("space", "public", "replace"))
    options = Options(**given)
    if space is None and (public or replace):
        flag = "--public" if public else "--replace"
        raise KoSentError(flag, "is about a Space", "name it with --space ORG/NAME")
    from kosent_hub.chatting import chat, push_space
    from kosent_hub.models.machine import quiet

    quiet.silence()
    if space is not None:
        print(push_space(options, space, public=public, replace=replace))
        return
    chat(options, announce=lambda address: print(address, flush=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-chat",
        description="Talk to a chat model, on a page of this machine or in the terminal. An "
        "adapter stands beside its base on the page.",
    )
    parser.add_argument("model", metavar="MODEL", help="a Hub id, a folder or a GGUF file")
    parser.add_argument("--revision", metavar="R", help="the model's branch, tag or commit")
    parser.add_argument(
        "--baseline",
        metavar="ID|PATH",
        help="the model beside it on the page (default: an adapter's base)",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--terminal",
        action="store_true",
        help="in the terminal; from a pipe, a turn is a line, and stdout has the replies",
    )
    where.add_argument(
        "--port", type=int, metavar="N", help="of the page (default: any that is free)"
    )
    where.add_argument(
        "--endpoint",
        metavar="URL",
        help="an OpenAI-compatible server, up to /v1, that has MODEL",
    )
    where.add_argument(
        "--i-may-send-this-text",
        metavar="URL",
        help="endpoint: what is said may go to this server, though it is neither on this machine "
        "nor in a private network",
    )
    shared = parser.add_argument_group("shared")
    shared.add_argument(
        "--space",
        metavar="ORG/NAME",
        help="push the page as a Space of the Hub, and talk to nobody here",
    )
    shared.add_argument(
        "--public", action="store_true", help="create the Space publicly (default: privately)"
    )
    shared.add_argument(
        "--replace", action="store_true", help="write over a Space that something else made"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--system-prompt",
        metavar="TEXT",
        help="the system message, '' for none (default: that of the model's training)",
    )
    how.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="0 for the most likely tokens, as kosent-eval takes them (default: %(default)s)",
    )
    how.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="the longest reply (default: %(default)s)",
    )
    how.add_argument("--dtype", choices=DTYPES, help="default: what this device is fast with")
    how.add_argument("--chat-template", metavar="FILE", help="for a model that has none")
    how.add_argument(
        "--new-chat-format",
        action="store_true",
        help="talk to an adapter in another chat format than that of its training",
    )
    how.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code from the model's repo"
    )
    parser.set_defaults(**{f.name: f.default for f in fields(Options) if f.default is not MISSING})
    return parser


if __name__ == "__main__":
    sys.exit(main())
