"""The page of kosent-chat in a real browser."""

import http.server
import json
import re
import threading
from contextlib import contextmanager

import pytest

from tests.kosent_hub.chatting.conftest import TAUGHT
from tests.support.browser import luminance, overflowing

pytestmark = pytest.mark.slow

BOX = "#said textarea"
# Notices when a message of the model's column goes.
WATCH = """() => { new MutationObserver(all => {
    if (all.some(each => each.removedNodes.length)) window.changed = true;
}).observe(document.querySelector("#chat-0"), {childList: true, subtree: true}); }"""


@pytest.fixture(scope="module")
def address(opened, adapter):
    return opened(adapter, *TAUGHT)


def visit(page, address):
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector(BOX)
    page.wait_for_function("document.documentElement.lang == 'ko'")
    return page


def say(page, text):
    """Say something, and wait until all replies are there."""
    page.fill(BOX, text)
    page.press(BOX, "Enter")
    page.wait_for_selector(f"#chat-0 [data-testid=user]:has-text('{text.strip()}')")
    settle(page)


def settle(page):
    page.wait_for_selector("button:has-text('멈추기'):disabled, button:has-text('Stop'):disabled")


def column(page, number):
    """The messages of a column: (role, text)."""
    return page.eval_on_selector_all(
        f"#chat-{number} [data-testid=user], #chat-{number} [data-testid=bot]",
        "all => all.map(e => [e.dataset.testid, e.innerText.trim()])",
    )


def letters(text):
    """What of a text is the same on every screen: an untaught model writes anything."""
    return re.sub(r"[\W_]+", "", text)


def test_a_whole_conversation_beside_the_base(address, page):
    visit(page, address).set_viewport_size({"width": 1100, "height": 800})
    assert "사람이 아니라 인공지능(AI)" in page.inner_text("#top [role=note]")
    say(page, "안녕")
    assert column(page, 1) == [["user", "안녕"], ["bot", "Hello!"]]
    tuned = column(page, 0)
    assert tuned[0] == ["user", "안녕"] and tuned[1][1] not in ("", "Hello!")
    assert page.input_value(BOX) == ""
    say(page, "힘들어")
    both = [column(page, number) for number in (0, 1)]
    assert [[role for role, _ in turns] for turns in both] == [["user", "bot"] * 2] * 2

    page.evaluate(WATCH)
    page.click("button:has-text('다시 답하기')")
    page.wait_for_function("window.changed")
    settle(page)
    assert [column(page, number) for number in (0, 1)] == both  # greedy replies

    with page.expect_download() as download:
        page.click("button:has-text('저장')")
    lines = download.value.path().read_text("utf-8").splitlines()
    saved = [json.loads(line) for line in lines]
    assert [line["model"] for line in saved] == ["tuned", "qwen3"]
    for line, turns in zip(saved, both, strict=True):
        system, *messages = line["messages"]
        assert system == {"role": "system", "content": "친절하게."}
        roles = {"user": "user", "assistant": "bot"}
        assert [roles[m["role"]] for m in messages] == [role for role, _ in turns]
        for message, (_, text) in zip(messages, turns, strict=True):
            assert letters(message["content"]) == letters(text)

    page.click("text=설정")
    page.click("text=나란히 보기")
    page.wait_for_selector("#chat-1", state="hidden")
    page.click("button:has-text('새 대화')")
    page.wait_for_selector("#chat-0 [data-testid=user]", state="detached")
    assert column(page, 0) == []


def test_a_turn_is_edited_and_replied_to_again(address, page):
    visit(page, address).set_viewport_size({"width": 1100, "height": 800})
    say(page, "힘들어")
    say(page, "취직했어")
    page.locator("#chat-1 button[aria-label='Edit']").first.click()
    page.fill("#chat-1 textarea", "안녕")
    page.locator("#chat-1 button[aria-label='Submit']").click()
    page.wait_for_selector("#chat-0 [data-testid=user]:has-text('안녕')")
    settle(page)
    assert column(page, 1) == [["user", "안녕"], ["bot", "Hello!"]]
    assert [role for role, _ in column(page, 0)] == ["user", "bot"]


def test_the_crisis_line_stays_in_sight_whatever_is_done(address, page):
    visit(page, address)
    assert not page.is_visible("#top [role=alert]")
    say(page, "안녕")
    assert not page.is_visible("#top [role=alert]")
    say(page, "죽고 싶어")
    line = page.inner_text("#top [role=alert]")
    assert all(number in line for number in ("109", "1577-0199", "112", "119"))
    say(page, "고마워")

    def in_sight():
        for selector in ("#top [role=alert]", "#top [role=note]"):
            box = page.locator(selector).bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= 800

    page.evaluate("scrollTo(0, 0)")
    in_sight()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    assert page.evaluate("scrollY") > 100
    in_sight()
    page.click("button:has-text('새 대화')")
    page.wait_for_selector("#chat-0 [data-testid=user]", state="detached")
    in_sight()
    page.reload()
    page.wait_for_selector("#top [role=alert]")
    page.click("text=English")
    page.wait_for_selector("#top [role=alert]:has-text('suicide prevention')")
    assert "not to a person" in page.inner_text("#top [role=note]")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.get_by_role("button", name="New conversation").is_visible()


def test_a_reload_keeps_the_conversation_and_another_tab_has_its_own(
    address,
    page,
):
    visit(page, address)
    say(page, "안녕")
    other = page.context.new_page()
    visit(other, address)
    say(other, "힘들어")
    assert [text for role, text in column(page, 0) if role == "user"] == ["안녕"]
    assert [text for role, text in column(other, 0) if role == "user"] == ["힘들어"]
    before = column(page, 0)
    page.reload()
    page.wait_for_selector("#chat-0 [data-testid=user]:has-text('안녕')")
    assert column(page, 0) == before
    say(page, "취직했어")
    assert len(column(page, 0)) == 4
    # What is kept in the browser is the tab's number, and not a word that was said.
    kept = page.evaluate(
        "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])"
    )
    assert re.search(r'"kosent-chat":"[0-9a-f-]{36}"', kept)
    assert "안녕" not in kept and "취직" not in kept
    assert page.evaluate("indexedDB.databases()") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(address, page, scheme):
    page.emulate_media(color_scheme=scheme)
    visit(page, address)
    say(page, "죽고 싶어 " + "아주긴말" * 30)
    page.click("text=설정")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert overflowing(page) == []
    assert page.locator("#said").bounding_box()["x"] <= 16
    assert (luminance(page, "body") < 60) is (scheme == "dark")
    assert (luminance(page, "#top .crisis") < 100) is (scheme == "dark")


def test_it_is_used_by_keyboard_and_its_parts_have_names(address, page):
    visit(page, address)
    page.get_by_role("textbox", name="하고 싶은 말").focus()
    page.keyboard.type("안녕")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText.trim()") == "보내기"
    page.keyboard.press("Enter")
    page.wait_for_selector("#chat-1 [data-testid=bot]:has-text('Hello!')")
    settle(page)
    assert page.evaluate("document.activeElement.innerText.trim()") == "보내기"
    for role, name in (
        *(
            ("button", name)
            for name in ("보내기", "멈추기", "다시 답하기", "새 대화", "저장", "설정")
        ),
        *(("radio", name) for name in ("한국어", "English")),
        ("group", "언어"),
        ("log", "chatbot conversation"),
    ):
        assert page.get_by_role(role, name=name).first.is_visible(), (role, name)
    page.click("text=설정")
    for role, name in (
        ("textbox", "시스템 메시지"),
        ("slider", "온도"),
        ("slider", "답의 최대 길이"),
        ("checkbox", "나란히 보기"),
    ):
        assert page.get_by_role(role, name=name).first.is_visible(), (role, name)


def test_enter_that_ends_a_syllable_sends_nothing(address, page):
    visit(page, address)
    page.fill(BOX, "안녀")
    press = """(box, isComposing) => { for (const type of ["keydown", "keypress"])
        box.dispatchEvent(new KeyboardEvent(type,
            {key: "Enter", isComposing, bubbles: true, cancelable: true})); }"""
    page.eval_on_selector(BOX, press, True)
    page.wait_for_timeout(1000)
    assert (page.input_value(BOX), column(page, 0)) == ("안녀", [])
    page.eval_on_selector(BOX, press, False)
    page.wait_for_selector("#chat-0 [data-testid=user]:has-text('안녀')")
    settle(page)
    assert page.input_value(BOX) == ""


def test_a_reply_is_stopped_and_what_there_is_of_it_stays(opened, tiny_llama, page):
    visit(page, opened(tiny_llama, "--max-new-tokens", "2000"))
    assert page.locator("#chat-1").count() == 0
    page.fill(BOX, "hello")
    page.press(BOX, "Enter")
    page.wait_for_selector("#chat-0 [data-testid=bot]")
    page.click("button:has-text('멈추기')")
    settle(page)
    (_, (role, reply)) = column(page, 0)
    assert role == "bot" and 0 < len(reply) < 5000
    page.wait_for_timeout(500)
    assert column(page, 0)[1][1] == reply


@contextmanager
def endpoint(port=0):
    """A server of OpenAI's protocol that replies with what was said last, and its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"data": [{"id": "org/served"}]})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = asked["messages"][-1]["content"].upper()
            choice = {"message": {"content": f"<think>흠</think>{said}!"}, "finish_reason": "stop"}
            self.answer({"choices": [choice]})

        def answer(self, content):
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_server_that_is_gone_is_a_line_and_nothing_that_was_said_is_lost(
    opened,
    page,
):
    with endpoint() as port:
        visit(page, opened("org/served", "--endpoint", f"http://127.0.0.1:{port}/v1"))
        assert f"127.0.0.1:{port}" in page.inner_text(".place")
        say(page, "abc")
        assert column(page, 0) == [["user", "abc"], ["bot", "ABC!"]]
    say(page, "def")
    error = page.inner_text(".error[role=alert]")
    assert f"http://127.0.0.1:{port}/v1/chat/completions" in error
    assert column(page, 0) == [["user", "abc"], ["bot", "ABC!"], ["user", "def"]]
    with endpoint(port):
        page.click("button:has-text('다시 답하기')")
        page.wait_for_selector("#chat-0 [data-testid=bot]:has-text('DEF!')")
        settle(page)
    assert not page.is_visible(".error")
