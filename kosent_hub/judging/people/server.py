"""The server of the people's page: for this machine's browser only, by the preview's guards."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from kosent_hub.judging.people.page import STATIC, static, whole_page
from kosent_hub.judging.people.votes import Ballot, rater_hash
from kosent_hub.judging.reading import Stored
from model_card.publishing import loopback
from model_card.publishing.errors import explain

POLICY = (
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Bytes of the largest request.
MOST = 4096


def serve(stored: Stored, limit: int | None, port: int, announce: Callable[[str], None]) -> None:
    """Serve the page on loopback until interrupted; `announce` is given its address.

    The address holds a random token, so that no other page can guess it.
    """
    token = loopback.new_token()

    class Handler(_Handler):
        site = _Site(stored, limit, token)

    loopback.serve(Handler, token, port, announce)


Answer = tuple[HTTPStatus, str, bytes]
MISSING: Answer = (HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")


class _Site:
    """The answers by path, and the ballots of those who have come."""

    def __init__(self, stored: Stored, limit: int | None, token: str) -> None:
        self._stored, self._limit, self._token = stored, limit, token
        self._ballots: dict[str, Ballot] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> Answer:
        """The page and its files; 404 for everything outside the token's folder."""
        rest = self._inside(path)
        if rest == "":
            return HTTPStatus.OK, "text/html; charset=utf-8", whole_page().encode()
        if rest in STATIC:
            return HTTPStatus.OK, STATIC[rest], static(rest).encode()
        return MISSING

    def post(self, path: str, asked: dict[str, Any]) -> Answer:
        """The state after `begin`, `vote` or `undo`; `moved` where another tab was faster."""
        rest = self._inside(path)
        if rest not in ("begin", "vote", "undo"):
            return MISSING
        at, key = asked.get("at"), asked.get("key")
        with self._lock:
            try:
                ballot = self._ballot(str(asked.get("rater", "")))
                done = rest == "begin" or (
                    isinstance(at, int)
                    and (ballot.undo(at) if rest == "undo" else ballot.vote(at, str(key)))
                )
                status, content = HTTPStatus.OK, ballot.state() | {"moved": not done}
            except Exception as error:
                line = explain(error)
                if line is None:
                    raise
                print(f"kosent-judge: {line}", file=sys.stderr)
                status, content = HTTPStatus.BAD_REQUEST, {"error": line}
        return status, "application/json", json.dumps(content, ensure_ascii=False).encode()

    def _inside(self, path: str) -> str | None:
        if not loopback.is_inside(path, self._token):
            return None
        return path.removeprefix("/").partition("/")[2]

    def _ballot(self, nickname: str) -> Ballot:
        rater = rater_hash(nickname)
        if rater not in self._ballots:
            self._ballots[rater] = Ballot(self._stored, self._limit, rater)
        return self._ballots[rater]


class _Handler(BaseHTTPRequestHandler):
    """GET for the page, POST for votes, of this machine's own browser; anything else is refused."""

    site: _Site
    server_version = "kosent-judge"
    sys_version = ""

    def do_GET(self) -> None:
        self._send(self.site.get(urlsplit(self.path).path) if self._is_own() else MISSING)

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        is_json = self.headers.get("Content-Type") == "application/json"
        if not (self._is_own() and is_json and size.isdigit() and int(size) <= MOST):
            self.close_connection = True
            self._send(MISSING)
            return
        try:
            asked = json.loads(self.rfile.read(int(size)))
        except ValueError:
            asked = None
        path = urlsplit(self.path).path
        self._send(self.site.post(path, asked) if isinstance(asked, dict) else MISSING)

    def _is_own(self) -> bool:
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        return loopback.is_own_host(self.headers.get("Host"), port) and loopback.is_own_origin(
            self.headers.get("Origin"), port
        )

    def _send(self, answer: Answer) -> None:
        status, kind, body = answer
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": POLICY,
            **loopback.HEADERS,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are votes."""
