"""The Hub's client made patient, in the one place that every library asks through.

huggingface_hub, datasets, transformers and peft all send their requests with
`huggingface_hub.get_session()`, and each repeats some of them, in its own way, and others never.
With `install()` that session repeats whatever only asks, while a fault may pass. What stays is
one HubUnavailable, which no library takes for a fault of its own to be waited out again. Commits
are not repeated here: see commit.py, which looks first whether they landed.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils._http import default_client_factory

from model_card.publishing.errors import AGAIN, HubUnavailable, KoSentError, repo_page, wait_for

# Seconds for which a fault is waited out before the command ends.
SETTING, DEFAULT_SECONDS = "KOSENT_HUB_PATIENCE", 30.0
# Pauses double, from this share of it to that.
SHORTEST, LONGEST = 1 / 60, 1 / 4
# Seconds of silence after which a connection counts as lost. A large commit takes the Hub a while.
SILENCE = 120.0
# A wait of this many seconds is announced.
NOTICEABLE = 2.0

# What only asks, or may be done twice; uploads repeat themselves, commits are commit.py's.
_ASKING = re.compile(
    r"/(api/repos/create|api/validate-yaml|(paths-info|preupload)/[^/]+"
    r"|info/lfs/objects/(batch|verify))$"
)

# The library that huggingface_hub speaks HTTP with: httpx, httpx2 since 2.0.
httpx: Any = sys.modules[HTTPError.__module__.partition(".")[0]]
_BROKEN = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


class Patience:
    """The waits between the tries of one request, as long as they last."""

    def __init__(self) -> None:
        self._seconds, self._pauses = _seconds(), 0
        self._end: float | None = None

    def wait(self, line: str, asked: str = "") -> bool:
        """True after a pause, of as long as the Hub `asked`; False if that would be too long.

        `line` is what would be said then: its first half, if the pause is long.
        """
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        share = min(SHORTEST * 2**self._pauses, LONGEST)
        pause = share * self._seconds * random.uniform(0.5, 1.5)
        self._pauses += 1
        if asked.isdigit():
            pause = max(pause, float(asked))
        if now + pause > self._end:
            return False
        if pause >= NOTICEABLE:
            print(f"{line.partition(';')[0]}; trying again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)
        return True


def install() -> None:
    """Make the session of this process patient; a command does this before it asks anything."""
    set_client_factory(_client)


def retry_after(error: Exception) -> str:
    """The `Retry-After` that came with a refusal, "" if none did."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    return str(headers.get("Retry-After", ""))


def passing(status: int) -> bool:
    """Whether an answer with this status may be another one soon."""
    return status in (408, 425, 429) or status >= 500


def _client() -> Any:
    client: Any = default_client_factory()
    client.timeout = SILENCE
    client.send = partial(_send, client.send)
    return client


def _send(send: Callable[..., Any], request: Any, *, stream: bool = False, **options: Any) -> Any:
    """What `send` returns, tried again while the request may be repeated and the fault may pass."""
    if not _repeatable(request, stream):
        return send(request, stream=stream, **options)
    patience = Patience()
    place = repo_page(str(request.url))
    while True:
        asked = ""
        try:
            response = send(request, stream=stream, **options)
            fault = _fault(response)
            if fault is None:
                if stream:
                    response.stream = _Body(response.stream, request)
                return response
            response.close()
            asked = response.headers.get("Retry-After", "")
        except _BROKEN as error:
            fault = f"not reachable ({_said(error)}); check the network and {AGAIN}"
        if not patience.wait(f"{place}: {fault}", asked):
            raise HubUnavailable(place, fault)


def _repeatable(request: Any, stream: bool) -> bool:
    """Whether sending the request twice does no harm, and an answer is needed to go on.

    Streams are downloads, wherever from. What the dataset viewer is asked is not needed.
    """
    path = request.url.path
    if request.method == "POST":
        return _ASKING.search(path) is not None
    return request.method in ("GET", "HEAD") and (stream or "/api/" in path or "/resolve/" in path)


def _fault(response: Any) -> str | None:
    """What is wrong with an answer that may be another one soon, and what to do if it is not."""
    headers, status = response.headers, response.status_code
    known = any(name in headers for name in ("X-Repo-Commit", "X-Error-Code", "X-Error-Message"))
    if headers.get("Content-Type", "").startswith("text/html") and not known:
        return (
            f"a web page came instead of the Hub's answer (HTTP {status}); check HF_ENDPOINT, a "
            f"proxy, or the network's sign-in page, and {AGAIN}"
        )
    busy = status == 409 and "conflicting operation" in headers.get("X-Error-Message", "")
    if not busy and not passing(status):
        return None
    said = headers.get("X-Error-Message") or response.reason_phrase
    return f"the Hub answered {status} ({said}); {wait_for(headers)}, then {AGAIN}"


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())


def _seconds() -> float:
    setting = os.environ.get(SETTING, "")
    try:
        return float(setting) if setting else DEFAULT_SECONDS
    except ValueError:
        raise KoSentError(f"{SETTING}={setting}", "not a number of seconds") from None


class _Body(httpx.SyncByteStream):
    """A download's body. One that breaks off is to the client as one that never came.

    For those it repeats the download, from where it broke off.
    """

    def __init__(self, body: Any, request: Any) -> None:
        self._body, self._request = body, request

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise httpx.ConnectError(_said(error), request=self._request) from error

    def close(self) -> None:
        """Give the connection back."""
        self._body.close()
