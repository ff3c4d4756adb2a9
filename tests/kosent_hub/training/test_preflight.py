"""What would fail after an hour is refused in the first seconds, all at once, with remedies."""

import sys
import time
from pathlib import Path

TRAIN = [sys.executable, "-m", "kosent_hub.train"]


def refused(run, flags: str, env: dict[str, str], cwd: Path) -> str:
    """What a refused start said; it must come soon and start nothing."""
    started = time.monotonic()
    done = run([*TRAIN, *flags.split()], env=env, cwd=cwd)
    # Ten seconds on a machine that does nothing else.
    assert time.monotonic() - started < 30
    assert done.returncode == 2
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert not (cwd / "run").exists()
    return done.stderr


def test_all_problems_are_said_at_once(run, hub, tmp_path: Path, tiny_llama: Path):
    base = {p.name: p for p in tiny_llama.iterdir() if p.is_file()}
    hub.create("kosent/gated-base", gated=True, owner="alice", files=base)
    table = b"question,answer\n1,2\n"
    hub.create("bob/table", repo_type="dataset", files={"train.csv": table})
    said = refused(
        run,
        "--config llama-3.1-8b/qlora-8gb --model_name_or_path kosent/gated-base --dataset_name "
        "bob/table --use_peft false --output_dir run "
        "--push_to_hub true --hub_model_id kosent/KoSent",
        hub.env("bob"),
        tmp_path,
    )
    problems = [line for line in said.splitlines() if line[:2] in ("1.", "2.", "3.", "4.", "5.")]
    assert len(problems) == 5
    assert "use_peft is false" in problems[0]
    assert "no GPU is visible, and llama-3.1-8b/qlora-8gb is for one" in problems[1]
    assert "kosent/gated-base: gated repository; accept its terms on that page" in problems[2]
    assert "no column `messages` (found question, answer); build the dataset with" in problems[3]
    assert (
        "kosent/KoSent: bob may not write to kosent; use --hub_model_id bob/KoSent" in problems[4]
    )
    assert said.splitlines()[-1] == (
        "kosent_hub.train: 5 problems (above), nothing was started; fix them and run again"
    )


def test_missing_repos_and_a_reading_token_are_named(run, hub, tmp_path: Path):
    said = refused(
        run,
        "--config smollm2-135m/cpu --model_name_or_path kosent/Llama-none --dataset_name bob/none "
        "--output_dir run --push_to_hub true --hub_model_id alice/KoSent",
        hub.env(read_only=True),
        tmp_path,
    )
    assert "Llama's licence wants a derivative's name to begin with \"Llama\"" in said
    assert "kosent/Llama-none: no such repository" in said
    assert "bob/none: no such repository" in said
    assert "alice/KoSent: your token may only read; make one that may write" in said


def test_a_base_that_only_this_machine_has_is_not_pushed(
    run, hub, tmp_path: Path, tiny_llama: Path
):
    said = refused(
        run,
        f"--config smollm2-135m/cpu --model_name_or_path {tiny_llama} --output_dir run "
        "--push_to_hub true --hub_model_id alice/KoSent",
        hub.env(),
        tmp_path,
    )
    assert "1. no dataset: add --dataset_name" in said
    assert "2. a push is asked for, but the base is the folder" in said
