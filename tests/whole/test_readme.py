"""The READMEs: their example in Python runs, and their links and those of docs/ lead somewhere."""

import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import ROOT

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"


def example(readme: str, title: str) -> str:
    """The block of code below a title, without its indent."""
    text = (ROOT / readme).read_text("utf-8").split(f"\n## {title}\n")[1]
    block = re.search(r"(?m)^(    .*\n|\n(?=    ))+", text)
    assert block is not None
    return textwrap.dedent(block[0])


@pytest.mark.slow
def test_the_example_in_python_runs(run, hub, tiny_llama: Path, tmp_path: Path):
    code = example("README.md", "From Python")
    assert code == example("README.ko.md", "Python에서")
    (tmp_path / "018.감성대화").symlink_to(ROOT / "dataset_builder" / "sample")
    (tmp_path / BASE).parent.mkdir()
    (tmp_path / BASE).symlink_to(tiny_llama)
    command = [sys.executable, "-c", code]
    done = run(command, cwd=tmp_path, env=hub.env(None), script=True)
    assert done.returncode == 0, done.stderr
    fits, scores, errors = done.stdout.splitlines()[-3:]
    assert fits == "True"
    steps, chrf = scores.split()
    assert int(steps) == 4
    assert 0 <= float(chrf) < 100
    assert errors == "0"
    assert (tmp_path / "run" / "README.md").read_text("utf-8").count("kosent:begin") > 10


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's titles."""
    titles = re.findall(r"(?m)^#+ (.+)$", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_titles(page: Path):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    for link in links:
        if not link.startswith(("https://", "http://")):
            file, _, title = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), link
            assert not title or title in anchors(target), link


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_a_readme_is_short(readme: str):
    assert len((ROOT / readme).read_text("utf-8").splitlines()) < 200
