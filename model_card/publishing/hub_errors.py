"""What an HTTP status, or an exception of the Hub's client, means: one row each.

The line that a user reads (errors.py), the retries (session.py) and the commits (commit.py) all
read these two tables. A new fault of the Hub is a row here and a row in
tests/robustness/faults/table.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from huggingface_hub import constants, errors

from model_card.publishing.errors import AGAIN, HubUnavailable, KoSentError


class Status(NamedTuple):
    """A status: whether a repeated request may succeed (`passes`), and its error for the user."""

    passes: bool
    what: str
    remedy: str


ANSWERED, WAIT = "{server} answered {status} ({reason})", f"{{wait}}, then {AGAIN}"
BUSY, OTHER = Status(True, ANSWERED, WAIT), Status(False, ANSWERED, WAIT)
# All others from 500 on are BUSY, and below OTHER.
STATUSES = {
    401: Status(False, "the token was refused ({reason})", f"run `hf auth login`, then {AGAIN}"),
    403: Status(
        False,
        "your token may not do this ({reason})",
        "use a token with write permission for it",
    ),
    408: BUSY,
    425: BUSY,
    429: BUSY,
}


class Row(NamedTuple):
    """A kind of exception: `explain` gives its error for the user, None if the kind is another.

    `passes` is whether a commit that ended so is worth another try.
    """

    kind: type[BaseException] | tuple[type[BaseException], ...]
    explain: Callable[[Any], KoSentError | None]
    passes: Callable[[Any], bool] = lambda error: False


def explain_hub(error: BaseException) -> KoSentError | None:
    """The error of the Hub's client in the user's terms; None if it is none of those below."""
    found = _find(error)
    return found[0] if found is not None else None


def may_pass(error: BaseException) -> bool:
    """Whether a commit that failed with this error is worth another try."""
    found = _find(error)
    return found is not None and found[1].passes(error)


def bad_answer(response: Any, where: str, *, is_hub: bool = True) -> HubUnavailable | None:
    """The error for an answer whose fault may pass; None for any other answer.

    `is_hub=False` is for other servers, whose errors explain themselves in their body.
    """
    headers = response.headers
    known = any(name in headers for name in ("X-Repo-Commit", "X-Error-Code", "X-Error-Message"))
    if is_hub and headers.get("Content-Type", "").startswith("text/html") and not known:
        return HubUnavailable(
            where,
            f"a web page came instead of the Hub's answer (HTTP {response.status_code})",
            f"check HF_ENDPOINT, a proxy, or the network's sign-in page, and {AGAIN}",
        )
    if not _answer_passes(response):
        return None
    reason = headers.get("X-Error-Message") or response.reason_phrase
    if not is_hub:
        reason = one_line(response.read().decode("utf-8", "replace"))[:300] or reason
    return HubUnavailable(where, *_meaning(response, reason, "the Hub" if is_hub else "the server"))


def no_answer(error: BaseException, where: str) -> HubUnavailable:
    """The error for a connection that could not be made, or that broke."""
    reason = one_line(f"{type(error).__name__}: {error}").rstrip(": ")
    return HubUnavailable(where, f"not reachable ({reason})", f"check the network and {AGAIN}")


def retry_after(error: BaseException) -> str:
    """The `Retry-After` that came with a refusal, "" if none did."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    return str(headers.get("Retry-After", ""))


def one_line(text: str) -> str:
    """The text with single spaces for line breaks and other white space."""
    return " ".join(text.split())


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


def _find(error: BaseException) -> tuple[KoSentError, Row] | None:
    for row in EXCEPTIONS:
        if isinstance(error, row.kind) and (explained := row.explain(error)) is not None:
            return explained, row
    return None


def _page(error: BaseException) -> str:
    """Address of the page the error is about."""
    request = getattr(getattr(error, "response", None), "request", None)
    return repo_page(str(getattr(request, "url", ""))) or "the Hub"


def _answer_passes(response: Any) -> bool:
    # The Hub's 409 while another request creates or renames the same repo.
    message = response.headers.get("X-Error-Message", "")
    conflict = response.status_code == 409 and "conflicting operation" in message
    return conflict or _status(response.status_code).passes


def _status(status: int) -> Status:
    return STATUSES.get(status, BUSY if status >= 500 else OTHER)


def _meaning(response: Any, reason: str, server: str = "the Hub") -> tuple[str, str]:
    """What an answer means, and what to do about it."""
    row = _status(response.status_code)
    words = {"server": server, "status": response.status_code, "reason": reason}
    return row.what.format(**words), row.remedy.format(wait=_wait(response.headers))


def _wait(headers: Mapping[str, str]) -> str:
    """How long the server wants not to be asked, in words."""
    seconds = headers.get("Retry-After", "")
    return f"wait {seconds} s" if seconds.isdigit() and seconds != "0" else "wait a while"


def _gated(error: errors.GatedRepoError) -> KoSentError:
    remedy = "accept its terms on that page, run `hf auth login` with a token that may read it"
    return KoSentError(_page(error), "gated repository", f"{remedy}, then {AGAIN}")


def _no_repo(error: errors.RepositoryNotFoundError) -> KoSentError:
    return KoSentError(
        _page(error),
        "no such repository, or it is private and your token may not read it",
        "check the name, or run `hf auth login`",
    )


def _answered(error: errors.HfHubHTTPError) -> KoSentError:
    status = error.response.status_code
    reason = error.server_message or f"HTTP {status}"
    where = constants.ENDPOINT if status == 401 else _page(error)
    return KoSentError(where, *_meaning(error.response, reason))


def _not_cached(error: errors.LocalEntryNotFoundError) -> KoSentError:
    cause = error.__cause__
    return (explain_hub(cause) if cause is not None else None) or KoSentError(
        constants.ENDPOINT,
        "not reachable, and the file is not in the local cache",
        f"check the network and {AGAIN}",
    )


def _upload(error: RuntimeError) -> KoSentError | None:
    if not str(error).startswith("Error while uploading"):
        return None
    reason = getattr(error.__cause__, "server_message", None) or type(error.__cause__).__name__
    what = f"a file could not be uploaded ({error} {reason})"
    return KoSentError(constants.ENDPOINT, what, f"nothing was committed, {AGAIN}")


def _upload_passes(error: RuntimeError) -> bool:
    # The client has waited for busy storage itself; a refused address may have grown too old.
    cause = error.__cause__
    return isinstance(cause, errors.HfHubHTTPError) and not _answer_passes(cause.response)


def _refused_file(error: ValueError) -> KoSentError | None:
    first, _, rest = str(error).partition("\n")
    if not first.startswith("LFS batch API returned errors"):
        return None
    what = f"storage refuses a file ({rest})"
    return KoSentError(constants.ENDPOINT, what, f"wait a while, then {AGAIN}")


def _damaged(error: OSError) -> KoSentError | None:
    if not str(error).startswith("Consistency check failed"):
        return None
    return KoSentError(constants.ENDPOINT, "a download arrived with another size", AGAIN)


# The first row that matches counts: subclasses come before what they derive from.
EXCEPTIONS = (
    Row(errors.GatedRepoError, _gated),
    Row(errors.RepositoryNotFoundError, _no_repo),
    Row(
        errors.RevisionNotFoundError,
        lambda error: KoSentError(_page(error), "no such revision", "check --revision"),
    ),
    Row(
        errors.LocalTokenNotFoundError,
        lambda error: KoSentError(
            None, "no Hub token on this machine", "run `hf auth login` or set HF_TOKEN"
        ),
    ),
    Row(
        errors.OfflineModeIsEnabled,
        lambda error: KoSentError(
            None, "HF_HUB_OFFLINE=1 is set, but this needs the Hub", f"unset it and {AGAIN}"
        ),
    ),
    Row(errors.HFValidationError, lambda error: KoSentError(None, str(error))),
    Row(errors.HfHubHTTPError, _answered, passes=lambda error: _answer_passes(error.response)),
    Row(errors.LocalEntryNotFoundError, _not_cached),
    Row(RuntimeError, _upload, passes=_upload_passes),
    Row(ValueError, _refused_file, passes=lambda error: True),
    Row(OSError, _damaged),
    # datasets, and the Hub's other storage protocol, raise Python's own ConnectionError.
    Row(
        (errors.HTTPError, ConnectionError),
        lambda error: no_answer(error, constants.ENDPOINT),
        passes=lambda error: True,
    ),
)
