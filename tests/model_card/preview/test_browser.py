"""The preview in a real browser: it loads, it fits, it follows the records, nothing in it acts."""

from __future__ import annotations

import os

import pytest

from tests.model_card.cards import RECORDS
from tests.support.browser import luminance, overflowing


@pytest.mark.parametrize(
    ("record", "count"),
    [
        ("adapter", 8),
        pytest.param("llama", 8, marks=pytest.mark.slow),
        pytest.param("merged", 6, marks=pytest.mark.slow),
    ],
)
def test_cards_fit_and_their_pictures_load(preview, page, record, count):
    address = preview(RECORDS / record)
    for width in (375, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(address)
        for details in page.query_selector_all("details"):
            details.evaluate("e => e.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert overflowing(page) == []
    pictures = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.alt])")
    assert len(pictures) == count  # three curves, and by emotion where scored, in two languages
    for complete, natural_width, alt in pictures:
        assert (complete, natural_width) == (True, 960)
        assert alt


def test_the_metadata_header_is_as_on_the_hub(preview, page):
    page.goto(preview(RECORDS / "llama"))
    chips = page.eval_on_selector_all(".facts li", "all => all.map(e => e.textContent)")
    assert chips[:5] == [
        "text-generation", "peft", "license: llama3.1", "ko", "kosent/emotional-dialogues",
    ]  # fmt: skip
    assert "adapter of meta-llama/Llama-3.1-8B-Instruct" in page.inner_text(".facts")


def test_collapsible_parts_open_and_the_english_half_is_one_click_away(preview, page):
    page.goto(preview(RECORDS / "adapter"))
    assert not page.is_visible("text=nrefs:1|case:mixed|eff:no >> nth=0")
    page.click("text=평가 방법과 지표의 뜻")
    assert page.is_visible("text=nrefs:1|case:mixed|eff:no >> nth=0")
    page.click("a:has-text('English')")
    page.wait_for_timeout(100)
    assert page.evaluate("location.hash") == "#english"
    assert page.evaluate("scrollY") > 1000


def test_light_and_dark_follow_the_system_and_the_button(browser, preview, page):
    address = preview(RECORDS / "adapter")
    page.emulate_media(color_scheme="dark")
    page.goto(address)
    assert luminance(page, "body") < 50
    page.click("button:has-text('Theme')")
    assert luminance(page, "body") > 200
    page.reload()
    assert luminance(page, "body") > 200
    page.emulate_media(color_scheme="light")
    page.click("button:has-text('Theme')")
    assert luminance(page, "body") < 50


def test_the_phone_button_narrows_the_card(preview, page):
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(preview(RECORDS / "adapter"))
    page.click("button:has-text('Phone')")
    assert page.eval_on_selector("main", "e => e.getBoundingClientRect().width") == 375


def test_the_page_reloads_when_the_records_change(preview, page, folder):
    page.goto(preview(folder))
    page.wait_for_timeout(1200)
    record = folder / "kosent" / "run.json"
    text = record.read_text(encoding="utf-8").replace("AMD EPYC 7B13 (2 cores)", "a new machine")
    record.write_text(text, encoding="utf-8")
    page.wait_for_selector("td:has-text('a new machine')", timeout=10_000)


def test_korean_is_drawn_and_not_boxes(preview, page):
    page.goto(preview(RECORDS / "adapter"))
    # Two syllables that a missing font would draw as the same box.
    pictures = {
        page.evaluate(
            """syllable => {
                const canvas = document.createElement("canvas");
                const pen = canvas.getContext("2d");
                pen.font = "40px " + getComputedStyle(document.body).fontFamily;
                pen.fillText(syllable, 10, 60);
                return pen.getImageData(0, 0, 80, 80).data.join();
            }""",
            syllable,
        )
        for syllable in "가뷁"
    }
    if len(pictures) == 1 and os.environ.get("CI") != "true":
        pytest.skip("no Korean font on this machine; apt-get install fonts-noto-cjk")
    assert len(pictures) == 2


HOSTILE = """\
---
license: mit
tags: ["<img src=x onerror=alert(1)>"]
base_model: "</code><script>document.title='owned'</script>"
---
# Hello <script>document.title = "owned"</script>

<img src=x.png onerror="document.title='owned'" alt="x">
<svg onload="document.title='owned'"></svg>
<a href="javascript:document.title='owned'">press</a>
<iframe src="https://evil.example"></iframe>
<link rel="stylesheet" href="https://evil.example/a.css">
<style>@import url("https://evil.example/b.css"); main { display: none }</style>
<meta http-equiv="refresh" content="0; url=https://evil.example">
<base href="https://evil.example/">
![badge](https://evil.example/badge.svg)

<div id="location" name="documentElement" class="bar" style="position: fixed">over</div>
"""


def test_a_hostile_card_does_nothing(preview, page, folder):
    (folder / "README.md").write_text(HOSTILE, encoding="utf-8")
    (folder / "x.png").write_bytes((RECORDS / ".." / "pixel.png").read_bytes())
    address = preview(folder)
    page.goto(address)
    page.wait_for_timeout(300)
    page.click("text=press")
    assert page.title() == "model"
    assert page.url == address
    assert page.is_visible("main h1:has-text('Hello')")
    assert (
        page.eval_on_selector_all(
            "article [onerror], article [onload], iframe, base", "e => e.length"
        )
        == 0
    )
