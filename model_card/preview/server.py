"""The server of `kosent-card preview`: the card as a web page, for this machine's browser only."""

from __future__ import annotations

import difflib
import hashlib
import mimetypes
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from model_card.preview.html import card_html
from model_card.publishing import front_matter, loopback
from model_card.publishing.errors import KoSentError, explain

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; sandbox"
STATIC = {
    "static/preview.css": "text/css",
    "static/preview.js": "text/javascript",
    "static/icon.svg": "image/svg+xml",
}
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml")


@dataclass(frozen=True)
class Preview:
    """What is shown: the README to be, the one it would replace, and how to read other files."""

    title: str
    text: str
    other: str | None
    other_name: str
    read: Callable[[str], bytes | None]


@dataclass(frozen=True)
class PreviewSource:
    """`build` makes the preview of this moment; `version` changes when that would differ."""

    build: Callable[[], Preview]
    version: Callable[[], str]


def serve(source: PreviewSource, port: int, announce: Callable[[str], None]) -> None:
    """Serve the preview on loopback until interrupted; `announce` is given its address.

    The address holds a random token, so that no other page can guess it.
    """
    token = loopback.new_token()

    class Handler(_Handler):
        pages = _Pages(source, token)

    loopback.serve(Handler, token, port, announce)


@dataclass(frozen=True)
class _Answer:
    body: bytes
    kind: str = "text/html; charset=utf-8"
    policy: str = PAGE_POLICY
    status: HTTPStatus = HTTPStatus.OK


class _Pages:
    """The answers by path; a card is built once per version of its source."""

    def __init__(self, source: PreviewSource, token: str) -> None:
        self._source, self._token = source, token
        self._lock = threading.Lock()
        self._built: tuple[str, Preview | str] | None = None

    def answer(self, path: str) -> _Answer:
        """The answer for `path`: 404 for everything outside the token's folder."""
        if not loopback.is_inside(path, self._token):
            return _missing()
        rest = path.removeprefix("/").partition("/")[2]
        if rest == "version":
            return _Answer(self._source.version().encode(), "text/plain")
        if rest in STATIC:
            return _Answer((package_files("model_card.preview") / rest).read_bytes(), STATIC[rest])
        card = self._card()
        if rest in ("", "diff"):
            return _Answer(_page(card, rest or "card").encode())
        if rest.startswith("files/") and isinstance(card, Preview):
            return _file(card, unquote(rest.removeprefix("files/")))
        return _missing()

    def _card(self) -> Preview | str:
        with self._lock:
            version = self._source.version()
            if self._built is None or self._built[0] != version:
                try:
                    built: Preview | str = self._source.build()
                except Exception as error:
                    line = explain(error)
                    if line is None:
                        raise
                    built = line
                self._built = version, built
            return self._built[1]


def _missing() -> _Answer:
    return _Answer(b"not found\n", "text/plain", FILE_POLICY, HTTPStatus.NOT_FOUND)


def _file(card: Preview, path: str) -> _Answer:
    try:
        data = card.read(path)
    except KoSentError:
        data = None
    if data is None:
        return _missing()
    kind = mimetypes.guess_type(path)[0]
    if kind not in PICTURES:
        kind = "text/plain; charset=utf-8"
    return _Answer(data, kind, FILE_POLICY)


def _page(card: Preview | str, view: str) -> str:
    template = _environment().get_template("preview.html.jinja")
    if isinstance(card, str):
        return template.render(view="error", title="kosent-card", error=card)
    return template.render(
        view=view,
        title=card.title,
        other_name=card.other_name,
        changed=card.other != card.text,
        article=card_html(card.text, "files") if view == "card" else "",
        data=front_matter.read(card.text),
        front=front_matter.split(card.text)[0].strip().strip("-").strip(),
        diff=_diff(card) if view == "diff" else [],
    )


def _diff(card: Preview) -> list[tuple[str, str]]:
    """(class, line) of the unified diff from the other README to this one."""
    lines = difflib.unified_diff(
        (card.other or "").splitlines(),
        card.text.splitlines(),
        card.other_name,
        "this card",
        lineterm="",
    )
    kinds = {"+": "added", "-": "removed", "@": "place"}
    return [(kinds.get(line[:1], "same"), line) for line in lines]


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD for this machine's own browser; anything else is refused."""

    pages: _Pages
    server_version = "kosent-card"
    sys_version = ""

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def _send(self, *, with_body: bool) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        if loopback.is_own_host(self.headers.get("Host"), self.server.server_port):
            answer = self.pages.answer(urlsplit(self.path).path)
        else:
            answer = _missing()
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.body)),
            "Content-Security-Policy": answer.policy,
            **loopback.HEADERS,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        if args and str(args[-2:-1]).startswith("('5"):
            print(f"preview: {format % args}", file=sys.stderr)


def files_version(folder: Path | None) -> str:
    """A digest that changes when a template does, or a record or the README in `folder`."""
    here = Path(str(package_files("model_card")))
    watched = [*here.glob("*/*.jinja"), *here.glob("preview/static/*")]
    if folder is not None:
        watched += [folder / "README.md", *folder.glob("*.json"), *(folder / "kosent").rglob("*")]
    stamps = [
        f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
        for path in sorted(watched)
        if path.is_file() and (stat := path.stat())
    ]
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:16]


def read_below(folder: Path, path: str) -> bytes | None:
    """A file's bytes if its real path is inside `folder`, else None."""
    root = folder.resolve()
    try:
        found = (root / path).resolve()
        return found.read_bytes() if found.is_relative_to(root) and found.is_file() else None
    except (OSError, ValueError):
        return None


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("model_card.preview.server", "."), autoescape=True)
