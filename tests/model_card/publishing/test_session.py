"""The session of our commands: its settings, and servers that are not the Hub."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from huggingface_hub import get_session

from model_card.publishing import session
from model_card.publishing.errors import HubUnavailable, KoSentError

pytestmark = pytest.mark.usefixtures("retries")

# Status, headers and body of an answer.
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def server(answers: Sequence[Answer]) -> Iterator[tuple[str, list[str]]]:
    """A server of these answers, the last of them for ever: its address, and what it is asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def post(url: str):
    return get_session().post(url, content=b"{}", extensions={session.OTHER_SERVER: True})


def test_another_server_is_asked_again_and_quoted(monkeypatch):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "0.2")
    with server([(503, {}, b"starting"), (200, {}, b"ready")]) as (url, asked):
        assert post(f"{url}/api/chat").text == "ready"
        assert len(asked) == 2
    with server([(500, {}, b'{"error": "engine\n dead"}')]) as (url, _):
        with pytest.raises(HubUnavailable) as raised:
            post(f"{url}/api/chat?key=1")
        assert raised.value.where == f"{url}/api/chat?key=1"
        assert raised.value.what == 'the server answered 500 ({"error": "engine dead"})'


def test_another_server_may_answer_with_a_page_and_be_asked_offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with server([(200, {"Content-Type": "text/html"}, b"<html>")]) as (url, _):
        assert post(url).text == "<html>"


def test_a_post_that_may_not_be_repeated_is_sent_once():
    with server([(503, {}, b"")]) as (url, asked):
        assert get_session().post(f"{url}/api/models/a/b/commit/main").status_code == 503
        assert len(asked) == 1


@pytest.mark.parametrize("path", ["telemetry/trl", "agent-harnesses"])
def test_what_a_library_asks_in_the_background_is_asked_once(path):
    with server([(503, {}, b"")]) as (url, asked):
        assert get_session().get(f"{url}/api/{path}").status_code == 503
        assert len(asked) == 1


def test_a_proxy_of_the_environment_is_used_and_asked_again(monkeypatch):
    with server([(503, {}, b""), (200, {}, b"{}")]) as (url, asked):
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "other.test")
        session.install()
        assert get_session().get("http://hub.test/api/models/a/b").json() == {}
        assert asked == ["http://hub.test/api/models/a/b"] * 2


def test_the_old_name_of_the_setting_works_and_says_so_once(monkeypatch, capsys):
    monkeypatch.delenv("KOSENT_HUB_RETRY_SECONDS")
    monkeypatch.setenv("KOSENT_HUB_PATIENCE", "0")
    session._announce_new_name.cache_clear()
    with server([(503, {}, b"")]) as (url, asked):
        for _ in range(2):
            with pytest.raises(HubUnavailable):
                get_session().get(f"{url}/api/models/a/b")
        assert len(asked) == 2
    said = "KOSENT_HUB_PATIENCE is called KOSENT_HUB_RETRY_SECONDS now; the old name still works\n"
    assert capsys.readouterr().err == said


def test_a_setting_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "long")
    with pytest.raises(KoSentError, match="KOSENT_HUB_RETRY_SECONDS=long: not a number of seconds"):
        session.Backoff()


def test_a_long_wait_is_announced_without_secrets(monkeypatch, capsys):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "3")
    monkeypatch.setattr(session.time, "sleep", lambda seconds: None)
    fault = KoSentError("https://alice:secret@hub.test/a/b", "not reachable", "check the network")
    assert session.Backoff().wait(fault, "2")
    said = "https://...@hub.test/a/b: not reachable; trying again in 2 s\n"
    assert capsys.readouterr().err == said
