"""The pictures in docs/images: a conversation with a run beside its base, and the run's card.

    python -m tests.tools.screenshots RUN [FOLDER]       or make screenshots RUN=kosent-demo/RUN

The page is in Korean and light; replies are the most likely ones, so the same run gives the same
picture. What is said is written here, and no text of a corpus.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support import ROOT
from tests.support.browser import CHROMIUM

SAID = (
    "오늘 회의에서 말이 꼬였는데 하루 종일 그 생각만 나.",
    "다들 괜찮다고는 하는데 나만 계속 신경 쓰는 것 같아.",
)
LARGEST = 300_000  # bytes of a picture in a README
LONGEST_WAIT = 600_000  # milliseconds, for two replies of two models on a slow CPU


@contextmanager
def served(run: Path, *command: str) -> Iterator[str]:
    """The address that a command prints, which it serves until the block ends."""
    # Beside the run: a base that is a folder has its path from there.
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=run.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, f"{command} printed no address"
            yield address
        finally:
            process.send_signal(signal.SIGINT)


def picture_chat(browser: Browser, run: Path, path: Path) -> None:
    """The page after two turns, beside the base."""
    page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
    page.set_default_timeout(LONGEST_WAIT)
    command = ("kosent_hub.chat", run.name, "--temperature", "0", "--max-new-tokens", "64")
    with served(run, *command) as address:
        page.goto(address)
        for said in SAID:
            page.fill("#said textarea", said)
            page.press("#said textarea", "Enter")
            page.wait_for_selector(f"#chat-0 [data-testid=user]:has-text('{said}')")
            page.wait_for_selector("button:has-text('멈추기'):disabled")
        page.screenshot(path=path)
    page.close()


def picture_card(browser: Browser, run: Path, path: Path) -> None:
    """The beginning of the run's card."""
    page = browser.new_page(viewport={"width": 1000, "height": 1300}, color_scheme="light")
    with served(run, "model_card.cli", "preview", run.name, "--language", "ko") as address:
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=path)
    page.close()


def main() -> None:
    """Take both pictures of the run that is named."""
    run = Path(sys.argv[1]).resolve()
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, take in (("chat.png", picture_chat), ("card.png", picture_card)):
            path = folder / name
            take(browser, run, path)
            assert path.stat().st_size < LARGEST, f"{path}: {path.stat().st_size:,} bytes"
            print(path)


if __name__ == "__main__":
    main()
