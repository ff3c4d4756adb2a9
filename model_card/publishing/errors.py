"""What a user can fix, and the one place where it becomes a line on the screen."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DONE, BUG, USER_ERROR = 0, 1, 2
# How Python keeps the bytes of a file's name that are not UTF-8.
UNDECODED = re.compile("[\udc80-\udcff]")

# Redacted from all output: tokens, and passwords in URLs.
SECRET = re.compile(r"(?<=://)[^/@\s]+@|\bhf_[A-Za-z0-9]{8,}|(?<=Bearer )\S+")

# What most remedies end with; `next_step` puts another step in its place.
AGAIN = "run the same command again"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NO_SPACE, MAKE_ROOM = "no space left on device", f"make room there, then {AGAIN}"


class KoSentError(Exception):
    """An error that the user can fix: where it is, what is wrong, and what to do next.

    Written as one line, `where: what; remedy`; `where` and `remedy` may be missing.
    """

    def __init__(self, where: object, what: str, remedy: str = "") -> None:
        super().__init__(where, what, remedy)
        self.where = "" if where is None else str(where)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class HubUnavailable(KoSentError):
    """The Hub or the network fails; nothing is wrong with the request."""


def run_command(name: str, command: Callable[[], object]) -> int:
    """Exit status of `command`: 0 done, 2 the user can fix it (one line), 1 a bug (traceback).

    `KOSENT_DEBUG=1` brings the traceback back for errors the user can fix.
    """
    # Else Python searches all of torch for garbage while it ends, for almost two seconds.
    atexit.register(gc.freeze)
    try:
        command()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our stdout left (`| head`); nothing to say to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except Exception as error:
        line = explain(error)
        if line is None or os.environ.get("KOSENT_DEBUG") == "1":
            print(without_secrets(traceback.format_exc()), end="", file=sys.stderr)
        if line is None:
            return BUG
        print(f"{name}: {line}", file=sys.stderr)
        return USER_ERROR
    return DONE


def without_secrets(text: str) -> str:
    """The text with `...` in place of tokens and of the user part of URLs."""
    return SECRET.sub(lambda found: "...@" if found[0].endswith("@") else "...", text)


@contextmanager
def next_step(step: str) -> Iterator[None]:
    """Put `step` in the place of AGAIN in the remedy of errors that the user can fix.

    For the end of a long command, whose earlier work is not to be repeated.
    """
    try:
        yield
    except Exception as error:
        found = user_error(error)
        if found is None:
            raise
        if AGAIN in found.remedy:
            remedy = found.remedy.replace(AGAIN, step)
        else:
            remedy = f"{found.remedy}; then {step}" if found.remedy else f"then {step}"
        raise KoSentError(found.where, found.what, remedy) from error


def explain(error: BaseException) -> str | None:
    """One line for an error the user can fix, without secrets; None for a bug."""
    found = user_error(error)
    return None if found is None else " ".join(without_secrets(str(found)).split())


def user_error(error: BaseException) -> KoSentError | None:
    """The error in the user's terms, if the user can fix it; None for a bug."""
    if isinstance(error, KoSentError):
        return error
    # A command that has not imported the Hub's client meets none of its errors.
    if "huggingface_hub" in sys.modules:
        from model_card.publishing.hub_errors import explain_hub

        if (found := explain_hub(error)) is not None:
            return found
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return KoSentError(error.filename or "the disk", NO_SPACE, MAKE_ROOM)
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        return KoSentError(error.filename, error.strerror or f"error {error.errno}")
    if isinstance(error, UnicodeEncodeError) and error.object.startswith("Bearer "):
        return KoSentError(
            None,
            "the Hub token has letters that no token has",
            "check HF_TOKEN, or run `hf auth login`",
        )
    if isinstance(error, UnicodeEncodeError) and UNDECODED.search(error.object):
        name = ascii(error.object)
        return KoSentError(name, "a name that is not UTF-8", "rename that file or folder")
    # Libraries wrap what the Hub did in errors of their own.
    return user_error(error.__cause__) if error.__cause__ is not None else None
