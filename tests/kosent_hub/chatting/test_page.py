"""The page of kosent-chat over HTTP: what is served, and to whom."""

import json
import re
from urllib.parse import urlsplit

import pytest

from tests.kosent_hub.chatting.conftest import TAUGHT
from tests.model_card.preview.test_preview import get

WITHOUT_GRADIO = """
import sys
sys.modules["gradio"] = None
from kosent_hub.chat import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_gradio_one_line_names_the_command(run, nobody):
    done = run(["python", "-c", WITHOUT_GRADIO, "m"], env=nobody, script=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "kosent-chat: the page needs Gradio, which is not installed; run `pip install "
        "'kosent-hub[chat]'`, or add --terminal\n"
    )


@pytest.fixture(scope="module")
def address(opened, adapter):
    return opened(adapter, *TAUGHT)


@pytest.mark.slow
def test_the_page_names_no_other_host_and_lets_nothing_in(address):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
    status, headers, page = get(address)
    text = page.decode()
    assert status == 200
    assert re.search(r'<html\s+lang="ko"', text)
    assert (
        re.findall(r"""(?:src|href|content|url)\s*[=(]\s*["']?(?:https?:)?//[^"')\s]+""", text)
        == []
    )
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert "http" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", text)[1])
    assert (config["analytics_enabled"], config["run_history"]) == (False, False)


@pytest.mark.slow
def test_nobody_without_the_token_or_from_another_page_gets_anything(address):
    parts = urlsplit(address)
    outside, port = f"{parts.scheme}://{parts.netloc}/", parts.port
    for path in ("", "config", "x" * 22 + "/", "gradio_api/info", "docs", "openapi.json"):
        assert get(outside, path)[0] == 404
    for headers in (
        {"Host": f"evil.example:{port}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
    ):
        assert get(address, headers=headers)[0] == 404
        assert get(address, "gradio_api/queue/join", headers, "POST")[0] == 404
    assert get(address, headers={"Host": f"localhost:{port}"})[0] == 200
    assert get(address, headers={"Origin": f"http://127.0.0.1:{port}"})[0] == 200
    for path in ("gradio_api/upload", "gradio_api/file=/etc/passwd", "monitoring", "docs", "login"):
        assert get(address, path)[0] == get(address, path, method="POST")[0] == 404


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_line_before_a_model_is_loaded(address, run, nobody):
    port = urlsplit(address).port
    done = run(["kosent-chat", "org/no-such-model", "--port", str(port)], env=nobody)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"kosent-chat: port {port}: .*; choose another one, or leave --port out\n", done.stderr
    )
