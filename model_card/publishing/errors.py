"""What a user can mend, and the one place where it becomes a line on the screen."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

DONE, BUG, MENDABLE = 0, 1, 2
# How Python keeps the bytes of a file's name that are not UTF-8.
UNDECODED = re.compile("[\udc80-\udcff]")

# What must not be read by who looks over a shoulder, or in a log: tokens, and a password in an
# address.
SECRET = re.compile(r"(?<=://)[^/@\s]+@|\bhf_[A-Za-z0-9]{8,}|(?<=Bearer )\S+")

# The next step, where `next_step` says no other.
AGAIN = "run the same command again"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NO_SPACE = "no space left on device; make room there, then run the same command again"


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
    """The Hub, or the way to it, is out of order: nothing is wrong with what was asked."""


def run_command(name: str, command: Callable[[Sequence[str] | None], None]) -> int:
    """Exit status of `command`: 0 done, 2 the user can mend it (one line), 1 a bug (traceback).

    `KOSENT_DEBUG=1` brings the traceback back for errors the user can mend.
    """
    try:
        command(None)
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
        return MENDABLE
    return DONE


def without_secrets(text: str) -> str:
    """The text with `...` in place of tokens and of what stands before an address's host."""
    return SECRET.sub(lambda found: "...@" if found[0].endswith("@") else "...", text)


@contextmanager
def next_step(step: str) -> Iterator[None]:
    """Where work was done already: what the user can mend ends with `step`, not with AGAIN."""
    try:
        yield
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        line = line.replace(AGAIN, step) if AGAIN in line else f"{line}; then {step}"
        raise KoSentError(None, line) from error


def explain(error: BaseException) -> str | None:
    """One line for an error the user can mend, without secrets; None for a bug."""
    line = _explain(error)
    return None if line is None else without_secrets(line)


def _explain(error: BaseException) -> str | None:
    if isinstance(error, KoSentError):
        return " ".join(str(error).split())
    hub = _explain_hub(error) if "huggingface_hub" in sys.modules else None
    if hub is not None:
        return " ".join(hub.split())
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"{error.filename or 'the disk'}: {NO_SPACE}"
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, UnicodeEncodeError) and error.object.startswith("Bearer "):
        return "the Hub token has letters that no token has; check HF_TOKEN, or run `hf auth login`"
    if isinstance(error, UnicodeEncodeError) and UNDECODED.search(error.object):
        return f"{error.object!a}: a name that is not UTF-8; rename that file or folder"
    # Libraries wrap what the Hub did in errors of their own.
    return explain(error.__cause__) if error.__cause__ is not None else None


def _explain_hub(error: BaseException) -> str | None:
    """One line for what the Hub, or the way to it, did."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"{_page(error)}: gated repository; accept its terms on that page, run `hf auth login` "
            f"with a token that may read it, then {AGAIN}"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{_page(error)}: no such repository, or it is private and your token may not "
            "read it; check the name, or run `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{_page(error)}: no such revision; check --revision"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "no Hub token on this machine; run `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE=1 is set, but this needs the Hub; unset it and {AGAIN}"
    if isinstance(error, errors.HFValidationError):
        return str(error)
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", None)
        said = getattr(error, "server_message", None) or f"HTTP {status}"
        if status == 401:
            return (
                f"{constants.ENDPOINT}: the token was refused ({said}); run `hf auth login`, "
                f"then {AGAIN}"
            )
        if status == 403:
            return (
                f"{_page(error)}: your token may not do this ({said}); use a token with write "
                "permission for it"
            )
        return (
            f"{_page(error)}: the Hub answered {status} ({said}); "
            f"{wait_for(error.response.headers)}, then {AGAIN}"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        cause = error.__cause__
        return (_explain_hub(cause) if cause is not None else None) or (
            f"{constants.ENDPOINT}: not reachable, and the file is not in the local cache; "
            f"check the network and {AGAIN}"
        )
    if isinstance(error, RuntimeError) and str(error).startswith("Error while uploading"):
        why = getattr(error.__cause__, "server_message", None) or type(error.__cause__).__name__
        return (
            f"{constants.ENDPOINT}: a file could not be uploaded ({error} {why}); "
            f"nothing was committed, {AGAIN}"
        )
    if isinstance(error, ValueError) and str(error).startswith("LFS batch API returned errors"):
        said = str(error).partition("\n")[2]
        return f"{constants.ENDPOINT}: storage refuses a file ({said}); wait a while, then {AGAIN}"
    if isinstance(error, OSError) and str(error).startswith("Consistency check failed"):
        return f"{constants.ENDPOINT}: a download arrived with another size; {AGAIN}"
    # datasets, and the Hub's other storage protocol, raise Python's own.
    if isinstance(error, (errors.HTTPError, ConnectionError)):
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        return f"{constants.ENDPOINT}: not reachable ({said}); check the network and {AGAIN}"
    return None


def _page(error: BaseException) -> str:
    """Address of the page the error is about."""
    request = getattr(getattr(error, "response", None), "request", None)
    return repo_page(str(getattr(request, "url", ""))) or "the Hub"


def wait_for(headers: Mapping[str, str]) -> str:
    """How long the Hub wants not to be asked, in words."""
    asked = headers.get("Retry-After", "")
    return f"wait {asked} s" if asked.isdigit() and asked != "0" else "wait a while"


def repo_page(url: str) -> str:
    """Address of the page a request is about: its URL without API parts and query."""
    url = url.split("?")[0]
    for part in ("/api/models/", "/api/datasets/"):
        if part in url:
            host, rest = url.split(part, 1)
            kind = "datasets/" if "datasets" in part else ""
            return f"{host}/{kind}{'/'.join(rest.split('/')[:2])}"
    for part in ("/resolve/", ".git/", "/api/"):
        url = url.split(part)[0]
    return url
