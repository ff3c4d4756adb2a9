"""What a user can mend, and the one place where it becomes a line on the screen."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence

DONE, BUG, MENDABLE = 0, 1, 2
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NO_SPACE = "no space left on device; make room there, then run the same command again"


class KoSentError(Exception):
    """Something the user can mend: the message says where, what, and what to do next."""


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
            traceback.print_exc()
        if line is None:
            return BUG
        print(f"{name}: {line}", file=sys.stderr)
        return MENDABLE
    return DONE


def explain(error: BaseException) -> str | None:
    """One line for an error the user can mend, None for a bug."""
    if isinstance(error, KoSentError):
        return " ".join(str(error).split())
    hub = _explain_hub(error) if "huggingface_hub" in sys.modules else None
    if hub is not None:
        return hub
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"{error.filename or 'the disk'}: {NO_SPACE}"
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def _explain_hub(error: BaseException) -> str | None:
    """One line for what the Hub, or the way to it, did."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        page = _repo_page(error)
        return (
            f"{page}: gated repository; accept its terms on that page, "
            "then run `hf auth login` with a token that may read it"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{_repo_page(error)}: no such repository, or it is private and your token may not "
            "read it; check the name, or run `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{_repo_page(error)}: no such revision; check --revision"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "no Hub token on this machine; run `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE=1 is set, but this needs the Hub; unset it and run again"
    if isinstance(error, errors.HFValidationError):
        return " ".join(str(error).split())
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", None)
        said = getattr(error, "server_message", None) or f"HTTP {status}"
        if status == 401:
            return f"{constants.ENDPOINT}: the token was refused ({said}); run `hf auth login`"
        if status == 403:
            return (
                f"{_repo_page(error)}: your token may not do this ({said}); use a token with write "
                "permission for it"
            )
        return f"{_repo_page(error)}: the Hub answered {status} ({said}); run it again later"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"{constants.ENDPOINT}: not reachable, and the file is not in the local cache; "
            "check the network and run the same command again"
        )
    if isinstance(error, RuntimeError) and str(error).startswith("Error while uploading"):
        return (
            f"{constants.ENDPOINT}: a file could not be uploaded ({error}); nothing was committed, "
            "run the same command again"
        )
    if isinstance(error, errors.HTTPError):
        return (
            f"{constants.ENDPOINT}: not reachable ({type(error).__name__}); "
            "check the network and run the same command again"
        )
    return None


def _repo_page(error: BaseException) -> str:
    """Address of the page the error is about: the request's URL without API parts and query."""
    request = getattr(getattr(error, "response", None), "request", None)
    url = str(getattr(request, "url", "")).split("?")[0]
    for part in ("/api/models/", "/api/datasets/"):
        if part in url:
            host, rest = url.split(part, 1)
            kind = "datasets/" if "datasets" in part else ""
            return f"{host}/{kind}{'/'.join(rest.split('/')[:2])}"
    return url.split("/resolve/")[0] or "the Hub"
