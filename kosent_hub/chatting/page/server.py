"""The server of the page: Gradio's app on loopback, behind a guard."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.util import find_spec
from typing import Any

from kosent_hub.chatting.partner import Partners, Settings
from model_card.publishing import loopback
from model_card.publishing.errors import KoSentError

# Gradio's own page has scripts inside, and runs those of its apps from texts.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# What of Gradio's server the page needs: its files, its settings, and events and their results.
NEEDED = re.compile(
    r"/|/(assets|static|svelte)/.*|/theme\.css|/config|/favicon\.ico|/manifest\.json"
    r"|/gradio_api/(queue/(join|data)|heartbeat/[^/]+|reset|cancel|run/[^/]+|info|startup-events)"
)
# Of the head of Gradio's page: what names other hosts, for those who show a link to it, and a file
# outside of the token's folder.
FOREIGN = re.compile(
    rb'<meta[^>]*(og:|twitter:)[^>]*>|<link[^>]*https?://[^>]*>|<link rel="manifest"[^>]*>'
)
# A browser that is told of no icon asks for one outside of the token's folder.
NO_ICON = b'<link rel="icon" href="data:,">'
MISSING = "the page needs Gradio, which is not installed"

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]


def check_gradio() -> None:
    """Raise KoSentError unless Gradio is installed."""
    if find_spec("gradio") is None:
        raise KoSentError(None, MISSING, "run `pip install 'kosent-hub[chat]'`, or add --terminal")


def listen(port: int) -> socket.socket:
    """A socket on loopback at this port, 0 for any; raises KoSentError if it cannot be had."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((loopback.HOST, port))
        found.listen()
    except OSError as error:
        found.close()
        raise loopback.port_refused(port, error) from None
    return found


def serve(
    partners: Partners, settings: Settings, port: socket.socket, announce: Callable[[str], None]
) -> None:
    """Serve the page until interrupted; `announce` is given its address, which holds a token."""
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from kosent_hub.chatting.page.app import HEAD, build, static, theme

    token, number = loopback.new_token(), port.getsockname()[1]
    app = mount_gradio_app(
        FastAPI(openapi_url=None),
        build(partners, settings).queue(max_size=None),
        f"/{token}",
        server_name=loopback.HOST,
        server_port=number,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        theme=theme(),
        css=static("page.css"),
        head=HEAD,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            _guarded(app, token, number),
            log_level="error",
            timeout_graceful_shutdown=1,
            server_header=False,
        )
    )
    announce(f"http://{loopback.HOST}:{number}/{token}/")
    try:
        server.run(sockets=[port])
    except KeyboardInterrupt:
        return


def _guarded(app: App, token: str, port: int) -> App:
    """The app for pages of this server alone, and of it only what the page needs."""

    async def guard(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        headers = {name.decode().lower(): v.decode("latin-1") for name, v in scope["headers"]}
        allowed = (
            scope["type"] == "http"
            and loopback.is_own_host(headers.get("host"), port)
            and loopback.is_own_origin(headers.get("origin"), port)
            and loopback.is_inside(scope["path"], token)
            and NEEDED.fullmatch(scope["path"].removeprefix(f"/{token}"))
        )
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif not allowed:
            await _answer(send, 404, [(b"content-type", b"text/plain")], b"not found\n")
        elif scope["path"] == f"/{token}/":
            await _page(app, scope, receive, send)
        else:
            await app(scope, receive, _with_headers(send))

    return guard


def _with_headers(send: Send) -> Send:
    """`send` with our headers in the place of the app's own."""
    ours = loopback.HEADERS | {"Content-Security-Policy": POLICY}
    names = {name.lower().encode() for name in ours}

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value) for name, value in message["headers"] if name.lower() not in names
            ]
            message["headers"] = kept + [(n.encode(), v.encode()) for n, v in ours.items()]
        await send(message)

    return sending


async def _page(app: App, scope: Scope, receive: Any, send: Send) -> None:
    """Gradio's page, said to be in Korean, without what leads out of the token's folder."""
    found: list[MutableMapping[str, Any]] = []

    async def keep(message: MutableMapping[str, Any]) -> None:
        found.append(message)

    plain = [(n, v) for n, v in scope["headers"] if n.lower() != b"accept-encoding"]
    await app({**scope, "headers": plain}, receive, keep)
    begin, *parts = found
    body = b"".join(part.get("body", b"") for part in parts)
    body = FOREIGN.sub(b"", body).replace(b'lang="en"', b'lang="ko"', 1)
    body = body.replace(b"</head>", NO_ICON + b"</head>", 1)
    headers = [(n, v) for n, v in begin["headers"] if n.lower() != b"content-length"]
    await _answer(send, begin["status"], headers, body)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    sending = _with_headers(send)
    await sending({"type": "http.response.start", "status": status, "headers": headers})
    await sending({"type": "http.response.body", "body": body})
