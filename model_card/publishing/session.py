"""Retries for every request to the Hub that may be repeated, in the one session that all use.

huggingface_hub, datasets, transformers and peft all send their requests with
`huggingface_hub.get_session()`. Some of them repeat some requests, each in a way of its own.
`install()` gives that session a transport that repeats every request which does no harm when it is
sent twice, for as long as the fault may pass (hub_errors.py). A fault that stays is raised as one
HubUnavailable, which no library retries again. Commits are not repeated here: commit.py looks first
whether they landed.
"""

from __future__ import annotations

import functools
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils._http import hf_request_event_hook

from model_card.publishing.errors import KoSentError, without_secrets
from model_card.publishing.hub_errors import bad_answer, no_answer, repo_page

# Seconds for which a fault is waited out before the command ends.
SETTING, OLD_SETTING = "KOSENT_HUB_RETRY_SECONDS", "KOSENT_HUB_PATIENCE"
DEFAULT_SECONDS = 30.0
# Pauses double, from the first of these shares of that time up to the second.
MIN_PAUSE, MAX_PAUSE = 1 / 60, 1 / 4
# A wait of this many seconds is announced.
NOTICEABLE_SECONDS = 2.0
# Seconds of silence after which a connection counts as lost. A large commit takes the Hub a while.
TIMEOUT_SECONDS = 120.0

# An extension of requests to a server that is not the Hub: whether they may be repeated.
OTHER_SERVER = "kosent_other_server"
# Posts to the Hub that only ask, or may be done twice.
_REPEATABLE_POSTS = re.compile(
    r"/(api/repos/create|api/validate-yaml|(paths-info|preupload)/[^/]+"
    r"|info/lfs/objects/(batch|verify))$"
)
# What huggingface_hub asks in the background for its own ends, and can do without.
_BACKGROUND = re.compile(r"/api/(telemetry/|agent-harnesses$)")

# The library that huggingface_hub speaks HTTP with: httpx, httpx2 since 2.0.
httpx: Any = sys.modules[HTTPError.__module__.partition(".")[0]]
_BROKEN = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def install() -> None:
    """Give this process's session its retries; a command does this before it asks the Hub."""
    set_client_factory(_client)


class Backoff:
    """Pauses between the tries of one request: they double, within one budget of seconds."""

    def __init__(self) -> None:
        self._seconds, self._pauses = _retry_seconds(), 0
        self._end: float | None = None

    def wait(self, fault: KoSentError, retry_after: str = "") -> bool:
        """True after a pause, of at least `retry_after` seconds; False if the budget is too small.

        A long pause is announced with the fault.
        """
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        share = min(MIN_PAUSE * 2**self._pauses, MAX_PAUSE)
        pause = share * self._seconds * random.uniform(0.5, 1.5)
        self._pauses += 1
        if retry_after.isdigit():
            pause = max(pause, float(retry_after))
        if now + pause >= self._end:
            return False
        if pause >= NOTICEABLE_SECONDS:
            again = KoSentError(fault.where, fault.what, f"trying again in {pause:.0f} s")
            print(without_secrets(str(again)), file=sys.stderr)
        time.sleep(pause)
        return True


class RetryTransport(httpx.BaseTransport):
    """A transport that sends what may be repeated again, while its fault may pass."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def handle_request(self, request: Any) -> Any:
        """The answer; raises HubUnavailable for a fault that stays."""
        if not _may_be_repeated(request):
            return self._transport.handle_request(request)
        is_hub, url = OTHER_SERVER not in request.extensions, str(request.url)
        backoff, where = Backoff(), repo_page(url) if is_hub else url
        while True:
            retry_after = ""
            try:
                response = self._answer(request)
                fault = bad_answer(response, where, is_hub=is_hub)
                if fault is None:
                    return response
                response.close()
                retry_after = response.headers.get("Retry-After", "")
            except _BROKEN as error:
                fault = no_answer(error, where)
            if not backoff.wait(fault, retry_after):
                raise fault

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _answer(self, request: Any) -> Any:
        """One answer; read to its end, so that a fault in its body is met here too.

        A download is left to its reader, since it may be larger than memory.
        """
        response = self._transport.handle_request(request)
        if _is_download(request):
            response.stream = _Body(response.stream)
            return response
        try:
            body = b"".join(response.stream)
        finally:
            response.close()
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=httpx.ByteStream(body),
            extensions=response.extensions,
        )


class _Body(httpx.SyncByteStream):
    """A download's body. When it breaks off, the client sees a connection that was never made.

    For those it repeats the download, from where it broke off.
    """

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise httpx.ConnectError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Give the connection back."""
        self._body.close()


def _client() -> Any:
    """The client that huggingface_hub would make, with retries, and a limit to silence."""
    # httpx itself asks the environment for proxies only where it makes the transports.
    proxies = httpx._utils.get_environment_proxies()
    mounts = {pattern: _transport(proxy) if proxy else None for pattern, proxy in proxies.items()}
    return httpx.Client(
        transport=_transport(),
        mounts=mounts,
        event_hooks={"request": [_before_request]},
        follow_redirects=True,
        timeout=TIMEOUT_SECONDS,
    )


def direct_client() -> Any:
    """A client with the same retries that uses no proxy: for servers of the private network."""
    return httpx.Client(transport=_transport(), trust_env=False, timeout=TIMEOUT_SECONDS)


def _transport(proxy: str | None = None) -> RetryTransport:
    # As many connections as there are threads that ask: httpx would have them wait from 100 on.
    limits = httpx.Limits(max_keepalive_connections=20)
    return RetryTransport(httpx.HTTPTransport(proxy=proxy, limits=limits))


def _before_request(request: Any) -> None:
    """huggingface_hub's check and headers, for requests to the Hub: HF_HUB_OFFLINE is its alone."""
    if OTHER_SERVER not in request.extensions:
        hf_request_event_hook(request)


def _may_be_repeated(request: Any) -> bool:
    """Whether sending the request twice does no harm, and its answer is needed to go on."""
    if OTHER_SERVER in request.extensions:
        return bool(request.extensions[OTHER_SERVER])
    if request.method == "POST":
        return _REPEATABLE_POSTS.search(request.url.path) is not None
    # What datasets asks the dataset viewer, it can do without.
    viewer = request.url.host.startswith("datasets-server.")
    return (
        request.method in ("GET", "HEAD")
        and not viewer
        and _BACKGROUND.search(request.url.path) is None
    )


def _is_download(request: Any) -> bool:
    """Whether the answer is a file's content, from the Hub or from its storage."""
    path = request.url.path
    return request.method == "GET" and ("/resolve/" in path or "/api/" not in path)


def _retry_seconds() -> float:
    name = SETTING
    if SETTING not in os.environ and os.environ.get(OLD_SETTING):
        name = OLD_SETTING
        _announce_new_name()
    value = os.environ.get(name, "")
    try:
        return float(value) if value else DEFAULT_SECONDS
    except ValueError:
        raise KoSentError(f"{name}={value}", "not a number of seconds") from None


@functools.cache
def _announce_new_name() -> None:
    print(f"{OLD_SETTING} is called {SETTING} now; the old name still works", file=sys.stderr)
