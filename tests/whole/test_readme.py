"""The READMEs: what they tell to type runs, and their links and those of docs/ lead somewhere."""

import re
import shlex
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from tests.model_card.preview.test_preview import get
from tests.support import ROOT, fork_server

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


COMMAND = re.compile(r"(kosent-|accelerate launch |python -m kosent_hub)")
# The whole demo is a long test of its own: tests/kosent_hub/test_demo.py.
ELSEWHERE = ("kosent-demo",)
DATASET, MODEL = "kosent/emotions", "kosent/Llama-3.1-8B-KoSent"
# What stands in a README for a name of the reader's, and a name that is here. RUN is the folder
# that the training with --push_to_hub leaves.
STAND_INS = {
    r"YOU/NAME|계정/이름|ORG/DATASET": DATASET,
    r"ORG/MODEL|ORG/Llama-3.1-8B-KoSent": MODEL,
    r"ORG/NAME": "kosent/Llama-again",
    r"--model ID_OR_PATH --dataset ID_OR_PATH": f"--model {MODEL} --dataset dataset",
    r"--config RECIPE": "--config smollm2-135m/cpu --dataset_name dataset --output_dir other",
    r"RECIPE --gpu NAME": "llama-3.1-8b/qlora-8gb --gpu T4",
    r"chat MODEL": f"chat {MODEL}",
    r"\bBASE\b": "meta-llama/Llama-3.1-8B-Instruct",
    r"build SOURCE": "build sample",
    r"--jsonl DIR": "--jsonl lines",
    r"--merged DIR": "--merged merged",
    r"DIR DIR\.\.\.|(?<=judge )DIR\.\.\.": "one two",
    r"\bOUT\b": "dataset",
    r"card render$": "card render RUN",
    r"\bRUN\b": "Llama-3.1-8B-KoSent",
}
# So that each takes seconds: flags that come last count.
QUICK = {
    "kosent-data build": "--overwrite",
    **dict.fromkeys(
        ["accelerate launch", "kosent-train --config"],
        "--max_steps 2 --per_device_train_batch_size 1 --eval_strategy no --dtype float32 "
        "--bf16 false --use_cpu true",
    ),
    "kosent-eval --model": "--limit 2 --max-new-tokens 4 --no-safety --embedder none",
    "kosent-chat": "--max-new-tokens 4",
}


def commands(readme: str) -> list[str]:
    """The commands of a README in its order, with names that are here."""
    text = re.sub(r" \\\n +", " ", (ROOT / readme).read_text("utf-8"))
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines() if line[:4] == " " * 4]
    lines += re.findall(r"(?m)^\| `([^`]+)`", text)
    found = [line.partition("  ")[0] for line in lines if COMMAND.match(line)]
    for name, here in STAND_INS.items():
        found = [re.sub(name, here, command) for command in found]
    return [command for command in found if command not in ELSEWHERE]


def test_both_readmes_name_the_same_commands():
    assert commands("README.md") == commands("README.ko.md")
    assert len(commands("README.md")) > 20


@pytest.mark.slow
def test_each_command_of_the_readmes_runs(run, hub, tiny_llama: Path, tmp_path: Path):
    from kosent_hub.training import recipe

    weights = {path.name: path for path in tiny_llama.iterdir() if path.is_file()}
    for base in sorted({recipe.load(name)["model_name_or_path"] for name in recipe.packaged()}):
        hub.create(base, files=weights | {"LICENSE": "its licence", "USE_POLICY.md": "its policy"})
    for name in ("018.감성대화", "sample"):
        (tmp_path / name).symlink_to(ROOT / "dataset_builder" / "sample")
    env = hub.env()

    def ends_well(command: str, input: str | None = None) -> None:
        done = run(shlex.split(command), env=env, cwd=tmp_path, input=input)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Traceback" not in done.stderr

    def serves_a_page(command: str) -> None:
        process = fork_server.start(shlex.split(command), env=env, cwd=tmp_path)
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.communicate()[1]
        assert get(address)[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == ""

    for command in commands("README.md"):
        more = [flags for start, flags in QUICK.items() if command.startswith(start)]
        quick = " ".join([command, *more])
        if command.startswith("kosent-eval compare"):
            for name in ("one", "two"):
                scores = f"kosent-eval --model {MODEL} --dataset dataset"
                ends_well(f"{scores} {QUICK['kosent-eval --model']} --output {name}")
        if command.startswith(("kosent-card preview", "kosent-judge")):
            serves_a_page(quick)
        elif not command.startswith("kosent-chat"):
            ends_well(quick)
        elif "--terminal" in command:
            ends_well(quick, input="안녕하세요\n")
        else:
            serves_a_page(quick)


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
