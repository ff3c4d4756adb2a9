"""The server of the page: Gradio's app behind a guard, on loopback or in a Space of the Hub."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from model_card.publishing import loopback
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    import gradio as gr

# Gradio's own page has scripts inside, and runs those of its apps from texts.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors "
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


@dataclass(frozen=True)
class Site:
    """Where the page is, and who gets anything of it.

    `token` is the folder that it is in, "" for none; `is_own` says of the `Host` and the `Origin`
    of a request, None where it has none, whether the page itself asks; `frames` names the pages
    that may show it inside them, as a content policy does.
    """

    token: str
    is_own: Callable[[str | None, str | None], bool]
    frames: str

    @property
    def folder(self) -> str:
        """What all paths of the page begin with."""
        return f"/{self.token}" if self.token else ""

    def holds(self, path: str) -> bool:
        """Whether a path is one that the page needs."""
        inside = not self.token or loopback.is_inside(path, self.token)
        return inside and NEEDED.fullmatch(path.removeprefix(self.folder)) is not None


def on_loopback(port: socket.socket) -> tuple[Site, str]:
    """The page for this machine alone, behind a random token, and its address."""
    token, number = loopback.new_token(), port.getsockname()[1]

    def is_own(host: str | None, origin: str | None) -> bool:
        return loopback.is_own_host(host, number) and loopback.is_own_origin(origin, number)

    return Site(token, is_own, "'none'"), f"http://{loopback.HOST}:{number}/{token}/"


def on_space(hosts: Sequence[str]) -> Site:
    """The page of a Space that has these names: for all whom the Hub lets through to it."""

    def is_own(host: str | None, origin: str | None) -> bool:
        return host in hosts and (origin is None or origin == f"https://{host}")

    return Site("", is_own, "https://huggingface.co")


def listen(port: int, host: str = loopback.HOST) -> socket.socket:
    """A socket at this port, 0 for any; raises KoSentError if it cannot be had."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen()
    except OSError as error:
        found.close()
        raise loopback.port_refused(port, error) from None
    return found


def serve(page: gr.Blocks, port: socket.socket, site: Site, ready: Callable[[], object]) -> None:
    """Serve the page until interrupted; `ready` is called once it can be asked for."""
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from kosent_hub.chatting.page.app import HEAD, static, theme

    app = mount_gradio_app(
        FastAPI(openapi_url=None),
        page.queue(max_size=None),
        site.folder or "/",
        server_name=loopback.HOST,
        server_port=port.getsockname()[1],
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
            _guarded(app, site),
            log_level="error",
            timeout_graceful_shutdown=1,
            server_header=False,
        )
    )
    stop = server.handle_exit

    def quietly(*signal: Any) -> None:
        # The stream of a page that is still open is cut, which is no error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        stop(*signal)

    server.handle_exit = quietly  # type: ignore[assignment]
    ready()
    try:
        server.run(sockets=[port])
    except KeyboardInterrupt:
        return


def _guarded(app: App, site: Site) -> App:
    """The app for pages of this site alone, and of it only what the page needs."""

    async def guard(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        sending = _with_headers(send, site)
        headers = {name.decode().lower(): v.decode("latin-1") for name, v in scope["headers"]}
        allowed = (
            scope["type"] == "http"
            and site.is_own(headers.get("host"), headers.get("origin"))
            and site.holds(scope["path"])
        )
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif not allowed:
            await _answer(sending, 404, [(b"content-type", b"text/plain")], b"not found\n")
        elif scope["path"] == f"{site.folder}/":
            await _page(app, scope, receive, sending)
        else:
            await app(scope, receive, sending)

    return guard


def _with_headers(send: Send, site: Site) -> Send:
    """`send` with our headers in the place of the app's own."""
    ours = loopback.HEADERS | {"Content-Security-Policy": POLICY + site.frames}
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
    """Gradio's page, said to be in Korean, without what leads out of its folder."""
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
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
