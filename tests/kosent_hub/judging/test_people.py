"""The people's page: its guards, and in a real browser by keyboard alone."""

import json
import re
import signal
import urllib.error
import urllib.request

import pytest

from tests.kosent_hub.judging.planted import evaluation, quality
from tests.kosent_hub.judging.test_agreement import run
from tests.support import fork_server
from tests.support.browser import overflowing

pytestmark = pytest.mark.slow


class Page:
    """kosent-judge --people at work: its address, and how it ended."""

    def __init__(self, folder, env, *more):
        self.command = ["kosent-judge", folder, "--people", *more]
        self.process = fork_server.start(self.command, env=env)
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.communicate()[1]

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, out) == (0, ""), err
        return err


@pytest.fixture
def opened(nobody):
    """`opened(FOLDER, *options)`: the page for these replies."""
    running = []

    def start(*arguments):
        running.append(Page(arguments[0], nobody, *arguments[1:]))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.end()


@pytest.fixture
def folder(tmp_path):
    return evaluation(tmp_path / "eval", better=1.0, samples=50)


def votes(folder):
    """The votes of each rater, as they are saved."""
    found = sorted((folder / "judgements" / "people").glob("*.json"))
    return [json.loads(path.read_text("utf-8"))["votes"] for path in found]


def asked(url, data=None, **headers):
    """Status and text of an answer."""
    request = urllib.request.Request(
        url, data, headers={n.replace("_", "-"): v for n, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


JSON = {"Content_Type": "application/json"}


def test_only_the_page_itself_gets_anything_and_no_model_is_named(opened, folder):
    page = opened(folder)
    address = page.address
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
    begin = json.dumps({"rater": "별명"}).encode()
    status, text = asked(address + "begin", begin, **JSON)
    assert status == 200
    first = json.loads(text)
    assert (first["at"], first["total"], first["moved"]) == (0, 45 + 4, False)
    root = address[: address.index("/", 8)]
    elsewhere = {"Origin": "http://evil.example"}
    for url, data, headers in (
        (root + "/", None, {}),
        (root + "/token/begin", begin, JSON),
        (address, None, {"Host": "evil.example"}),
        (address + "begin", begin, JSON | elsewhere),
        (address + "begin", begin, {"Content_Type": "text/plain"}),
        (address + "begin", b"[]", JSON),
        (address + "begin", b" " * 5000, JSON),
        (address + "other", begin, JSON),
        (address + "../page.css", None, {}),
    ):
        assert asked(url, data, **headers)[0] == 404, url
    assert asked(address + "begin", json.dumps({"rater": ""}).encode(), **JSON)[0] == 400
    for name in ("", "page.css", "page.js"):
        status, content = asked(address + name)
        assert status == 200
        text += content
    for hidden in ("org/tuned", "org/base", "비밀 지시", "chat, test"):
        assert hidden not in text
    for wrong in ({"at": 3, "key": "1"}, {"at": 0, "key": "3"}, {"at": None, "key": "1"}):
        body = json.dumps({"rater": "별명", **wrong}).encode()
        assert json.loads(asked(address + "vote", body, **JSON)[1])["moved"]
    assert votes(folder) == []
    assert "next: kosent-judge report" in page.end()


def test_a_second_page_for_the_same_replies_is_refused(opened, folder):
    opened(folder)
    status, _, said = run(folder, "--people")
    assert status == 2 and "kosent-judge --people (pid" in said


def visit(page, address, rater="별명"):
    """Begin as that rater."""
    page.set_default_timeout(30_000)
    page.goto(address)
    page.keyboard.type(rater)
    page.keyboard.press("Enter")
    page.wait_for_selector("#pair:visible")


def counted(page):
    return page.inner_text("#count")


def press(page, key):
    """Press a key, and wait until what follows is shown."""
    before = counted(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "before => document.getElementById('count').textContent != before", arg=before
    )


def better(page):
    """The key of the better reply."""
    left, right = page.inner_text("#left"), page.inner_text("#right")
    return "1" if quality(left) > quality(right) else "2"


def test_forty_votes_by_keyboard_alone_with_a_kill_in_between(opened, folder, browser):
    context = browser.new_context()
    page, first = context.new_page(), opened(folder)
    visit(page, first.address)
    for _ in range(20):
        press(page, better(page))
    saved = votes(folder)
    first.kill()
    page.keyboard.press("1")
    page.wait_for_selector("#error:visible")
    assert "저장되었습니다" in page.inner_text("#error")
    assert votes(folder) == saved and len(saved[0]) == 20

    second = opened(folder)
    visit(page, second.address)
    assert counted(page) == "20 / 49"
    for _ in range(20):
        press(page, better(page))
    press(page, "u")
    assert counted(page) == "39 / 49" and len(votes(folder)[0]) == 39
    press(page, "0")
    for _ in range(9):
        press(page, better(page))
    page.wait_for_selector("#done:visible")
    assert counted(page) == "49 / 49"
    context.close()
    second.end()
    status, printed, said = run("report", folder, "--json")
    assert status == 0, said
    people = json.loads(printed)["people"]
    (rate,) = people["preferences"]["win_rates"]
    assert (rate["wins"], rate["ties"], rate["losses"]) == (44, 1, 0)
    assert list(people["raters"].values()) == [49] and people["self_agreement"]["n"] == 4


def test_a_second_tab_loses_nothing(opened, folder, page):
    address = opened(folder).address
    visit(page, address)
    other = page.context.new_page()
    visit(other, address)
    press(page, "1")
    other.keyboard.press("2")
    other.wait_for_selector("#error:visible")
    assert "다른 탭" in other.inner_text("#error") and counted(other) == "1 / 49"
    assert votes(folder) == [["1"]]
    press(other, "2")
    assert votes(folder) == [["1", "2"]]
    other.close()
    page.reload()
    page.wait_for_selector("#pair:visible")
    assert counted(page) == "2 / 49"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_speaks_both_languages_and_pauses(opened, folder, page, scheme):
    page.emulate_media(color_scheme=scheme)
    visit(page, opened(folder).address)
    page.click("summary")
    assert page.is_visible("h3:has-text('감정 반응')") and not page.is_visible(
        "h3:has-text('Emotional reaction')"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert overflowing(page) == []
    assert page.evaluate("document.documentElement.lang") == "ko"
    page.click("#language")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.is_visible("h3:has-text('Emotional reaction')")
    assert page.is_visible("button:has-text('No difference')")
    page.keyboard.press("p")
    assert page.is_visible("#paused") and not page.is_visible("#pair")
    page.keyboard.press("1")
    page.keyboard.press("p")
    assert page.is_visible("#pair") and counted(page) == "0 / 49"
    for role, name in (("button", "1 Reply 1 is better"), ("button", "U Undo the last vote")):
        assert page.get_by_role(role, name=name).is_visible()
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")


def test_an_exported_page_works_offline_and_its_votes_are_read(folder, tmp_path, browser):
    status, printed, said = run(folder, "--people", "--export", tmp_path / "out", "--limit", "10")
    assert status == 0, said
    context = browser.new_context(offline=True, accept_downloads=True)
    page = context.new_page()
    complaints = []
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    visit(page, (tmp_path / "out" / "judge.html").as_uri(), rater="바람")
    total = int(counted(page).split(" / ")[1])
    for _ in range(4):
        press(page, better(page))
    page.reload()
    page.wait_for_selector("#pair:visible")
    assert counted(page) == f"4 / {total}"
    press(page, "u")
    for _ in range(total - 3):
        press(page, better(page))
    page.wait_for_selector("#done:visible")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "votes.json")
    context.close()
    assert complaints == []
    status, printed, said = run(folder, "--people", "--votes", tmp_path / "votes.json", "--json")
    assert status == 0, said
    (rate,) = json.loads(printed)["people"]["preferences"]["win_rates"]
    assert rate["value"] == 1.0
    assert rate["wins"] == total - (total == 11)  # the eleventh is one of the ten again
