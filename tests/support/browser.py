"""Headless Chromium for tests of pages, and what of a page is looked at."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium. Where there is none the tests are skipped; in CI that is a failure."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if CHROMIUM is None or sync_playwright is None:
        missing = "no Chromium" if CHROMIUM is None else "no playwright"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing}: CI must have both (apt-get install chromium)")
        pytest.skip(f"{missing} on this machine; apt-get install chromium to run these")
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


@pytest.fixture
def page(browser):
    """A page that fails the test for any console error or warning, and any foreign request."""
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    complaints = []
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda r: r.url.startswith("http://127.0.0.1:") or complaints.append(f"asked for {r.url}"),
    )
    yield page
    context.close()
    assert complaints == []


def overflowing(page):
    """Elements that stick out of the page, scrolling boxes and what is in them aside."""
    return page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(e => !e.closest(".scroll, pre") && e.checkVisibility()
                      && e.getBoundingClientRect().right > innerWidth + 0.5)
            .map(e => e.outerHTML.slice(0, 80))"""
    )


def luminance(page, selector):
    """How light the element's background is, 0 to 255."""
    color = page.eval_on_selector(selector, "e => getComputedStyle(e).backgroundColor")
    numbers = [int(n) for n in color[color.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3
