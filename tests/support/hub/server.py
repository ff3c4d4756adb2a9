"""HTTP: connections in threads, requests in, answers and faults out.

By hand: `python -m tests.support.hub.server --port 8000` prints the endpoint and some tokens.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.support.hub.faults import Fault
from tests.support.hub.journal import Entry
from tests.support.hub.messages import Request, Response, answer, refusal
from tests.support.hub.routes import dispatch, repo_of
from tests.support.hub.store import HubError

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub

# How long a request that kills its client waits to be told the client's number.
KILL_SECONDS = 60
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome</body></html>"


class _HTTP(ThreadingHTTPServer):
    """Remembers open connections, so that a kept-alive one does not outlive its Hub."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type):
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away in the middle is what many tests are about.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Server:
    """One listening address of a Hub: `origin` is "hub" or "storage"."""

    def __init__(self, hub: Hub, origin: str, port: int = 0):
        handler = type("Handler", (_Handler,), {"hub": hub, "origin": origin})
        self._http = _HTTP(port, handler)
        self.port = self._http.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.01,), daemon=True, name=origin
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: Hub
    origin: str

    def do_GET(self) -> None:
        hub, method = self.hub, self.command
        fault = hub.faults.take(method, self.path)
        when = fault.options.get("when", "before") if fault and fault.kind == "reset" else None
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(url.query, keep_blank_values=True)
        user, body = None, b""

        def note(status: int | None) -> None:
            kind = fault.kind if fault else None
            hub.record(
                Entry(method, url.path, query, headers, user, status, self.origin, len(body), kind)
            )

        if when in ("before", "reading"):
            note(None)
            self._reset(read=0 if when == "before" else int(headers.get("content-length", 0)) // 2)
            return
        body = self._body()
        if when == "unanswered":
            _kill(fault)
            note(None)
            self._reset()
            return
        request = Request(method, url.path, query, headers, body, token=None)
        user, response = self._handle(request, fault)
        if fault and fault.kind == "lost_answer":
            _kill(fault)
            note(None)
            self._reset()
            return
        note(response.status)
        self._send(response, fault)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def log_message(self, *_: object) -> None:
        """The journal is the log."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _handle(self, request: Request, fault: Fault | None) -> tuple[str | None, Response]:
        """Who asked, and the answer."""
        user = None
        try:
            if fault:
                self._before(fault, request)
            # Storage looks at signatures in its addresses, never at tokens.
            if self.origin == "hub":
                token = self.hub.accounts.authenticate(request.headers.get("authorization"))
                user = token.user if token else None
                request = replace(request, token=token)
            return user, _instead(fault, request) or dispatch(self.hub, self.origin, request)
        except HubError as error:
            return user, refusal(error)
        except Exception:
            # A bug in here must not look like a network to the client under test.
            traceback.print_exc()
            return user, refusal(HubError(501, None, "bug in the test Hub; see its traceback"))

    def _before(self, fault: Fault, request: Request) -> None:
        """What happens on the Hub, or to the network, just before the request is handled."""
        options = dict(fault.options)
        if fault.kind == "delay":
            time.sleep(options.get("seconds", 1))
        elif fault.gathered:
            fault.gathered.wait()
        elif fault.kind == "expire_token":
            self.hub.expire(request.headers["authorization"].removeprefix("Bearer "))
        elif fault.kind in ("delete_repo", "commit"):
            repo_type, repo_id = repo_of(request.path)
            if fault.kind == "delete_repo":
                self.hub.delete(repo_id, repo_type)
            else:
                files = options.pop("files", {"foreign.txt": f"commit {fault.hits}\n"})
                self.hub.land(repo_id, files, repo_type, **options)

    def _send(self, response: Response, fault: Fault | None) -> None:
        """The answer, as whole and as fast as the fault lets it through."""
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("X-Request-Id", f"Root=1-{self.hub.asked:08x}")
        self.end_headers()
        body = response.body if self.command != "HEAD" else b""
        kind = fault.kind if fault else None
        options = fault.options if fault else {}
        if kind == "corrupt":
            body = bytes(byte ^ 1 for byte in body)
        if kind == "trickle":
            step = options.get("chunk", 1)
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                time.sleep(options.get("pause", 0.05))
        elif kind == "truncate":
            self.wfile.write(body[: options.get("keep", len(body) // 2)])
            self.close_connection = True
        elif kind == "reset" and options.get("when") == "during":
            self.wfile.write(body[: len(body) // 2])
            self._reset(pause=0.05)
        elif kind == "reset":
            self.wfile.write(body)
            self._reset(pause=0.2)
        else:
            self.wfile.write(body)

    def _reset(self, read: int = 0, pause: float = 0) -> None:
        """Drop the connection with a TCP reset, after what was sent had time to arrive."""
        self.rfile.read(read)
        time.sleep(pause)
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


def _kill(fault: Fault | None) -> None:
    """The end of the process that a fault kills, if it kills one."""
    if fault and (process := fault.options.get("kills")):
        os.kill(process.result(KILL_SECONDS), signal.SIGKILL)


def _instead(fault: Fault | None, request: Request) -> Response | None:
    """The answer of a fault that answers by itself."""
    options = fault.options if fault else {}
    said = options.get("message", "Internal trouble, made for a test")
    match fault.kind if fault else None:
        case "html":
            return Response(options.get("code", 200), PAGE, {"Content-Type": "text/html"})
        case "lfs_refused":
            error = {"code": options.get("code", 507), "message": said}
            refused = [{**item, "error": error} for item in request.json()["objects"]]
            return answer({"objects": refused})
        case "status":
            headers = {}
            if "retry_after" in options:
                headers["Retry-After"] = str(options["retry_after"])
            return refusal(HubError(options.get("code", 503), None, said), headers)
    return None


def main() -> None:
    """Serve until interrupted."""
    from tests.support.hub.hub import Hub

    parser = argparse.ArgumentParser(description="A small Hugging Face Hub, for trying things.")
    parser.add_argument("--port", type=int, default=0)
    port = parser.parse_args().port
    with tempfile.TemporaryDirectory() as home, Hub(Path(home), port) as hub:
        print(f"export HF_ENDPOINT={hub.endpoint} HF_HUB_DISABLE_XET=1", flush=True)
        for user in ("alice", "bob"):
            print(f"export HF_TOKEN={hub.token(user)}  # {user}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
