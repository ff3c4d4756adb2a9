"""Pages for the browser of this machine alone: the port, the token, who may ask."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from model_card.publishing.errors import KoSentError

HOST = "127.0.0.1"
# What every answer says besides its content policy.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """The random part of an address, so that no other page can guess it."""
    return secrets.token_urlsafe(16)


def serve(
    handler: type[BaseHTTPRequestHandler], token: str, port: int, announce: Callable[[str], None]
) -> None:
    """Serve until interrupted; `announce` is given the address, with the token in it.

    Raises KoSentError for a port that cannot be had.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise port_refused(port, error) from None
    server.daemon_threads = True
    with server:
        announce(f"http://{HOST}:{server.server_port}/{token}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def port_refused(port: int, error: OSError) -> KoSentError:
    """The error of a port that cannot be had."""
    return KoSentError(
        f"port {port}", f"{error.strerror}", "choose another one, or leave --port out"
    )


def is_own_host(host: str | None, port: int) -> bool:
    """Whether a request's `Host` is this server: any other name for it is DNS rebinding."""
    return host in (f"127.0.0.1:{port}", f"localhost:{port}")


def is_own_origin(origin: str | None, port: int) -> bool:
    """Whether the `Origin` of a request, if it has one, is a page of this server."""
    return origin is None or is_own_host(origin.removeprefix("http://"), port)


def is_inside(path: str, token: str) -> bool:
    """Whether a path begins with the folder that is the token."""
    folder = path.removeprefix("/").partition("/")[0]
    return secrets.compare_digest(folder.encode(), token.encode())
