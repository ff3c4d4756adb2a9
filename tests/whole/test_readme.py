"""The READMEs' example in Python runs as it is written, on the sample corpus and a tiny base."""

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
