"""Training on preference pairs by the front door: the margin rises, and a killed run goes on."""

import json
import sys
from pathlib import Path

import pytest

from model_card import records
from tests.kosent_hub.conftest import BASE, SYSTEM
from tests.kosent_hub.judging.planted import Planted, evaluation, serving
from tests.kosent_hub.training.test_train import wait_for, weights
from tests.support import fork_server

pytestmark = pytest.mark.slow

# What was planted: the one reply is warm, the other scolds. No text of the training is held out.
WARM = ["많이 속상하셨겠어요.", "서운한 마음이 크셨겠어요.", "혼자 견디느라 힘드셨겠어요."]
COLD = ["그건 네 잘못이야.", "그 정도 일로 왜 그래.", "남들도 다 그렇게 살아."]
DPO = [
    *(sys.executable, "-m", "kosent_hub.train", "--config", "smollm2-135m/dpo"),
    *("--model_name_or_path", BASE, "--dataset_name", "pairs", "--dtype", "float32"),
    *("--bf16", "false", "--learning_rate", "3e-3", "--max_steps", "24", "--eval_steps", "12"),
    *("--save_steps", "6", "--logging_steps", "2"),
]  # fmt: skip


def pair(number, chosen=None, rejected=None):
    """A planted pair; every second one has a turn before."""
    said = [{"role": "user", "content": f"오늘 {number}번이나 혼났어."}]
    if number % 2:
        before = [{"role": "user", "content": "안녕."}, {"role": "assistant", "content": "네."}]
        said = before + said
    return {
        "prompt": [{"role": "system", "content": SYSTEM}, *said],
        "chosen": [{"role": "assistant", "content": chosen or WARM[number % 3]}],
        "rejected": [{"role": "assistant", "content": rejected or COLD[number % 3]}],
    }


def write(path: Path, pairs) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in pairs]
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def planted(workplace: Path) -> Path:
    write(workplace / "pairs" / "train.jsonl", map(pair, range(24)))
    write(workplace / "pairs" / "validation.jsonl", map(pair, range(100, 108)))
    return workplace


def trained(run, place: Path, nobody, name: str, *flags: str, code: int = 0) -> str:
    done = run([*DPO, *flags, "--output_dir", name], cwd=place, env=nobody)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def curve(folder: Path, name: str) -> list[float]:
    lines = (folder / records.LOG_HISTORY_PATH).read_text().splitlines()
    return [entry[name] for entry in map(json.loads, lines) if name in entry]


@pytest.fixture(scope="module")
def calm(run, planted: Path, nobody) -> Path:
    said = trained(run, planted, nobody, "calm")
    assert f"DPO; the reference is {BASE}\n" in said
    return planted / "calm"


def test_the_margin_of_held_out_pairs_rises_and_the_record_says_how(calm: Path):
    margins = curve(calm, "eval_rewards/margins")
    assert len(margins) == 2 and 0 < margins[0] < margins[1] and margins[1] > 0.1
    assert curve(calm, "eval_rewards/accuracies")[-1] == 1.0
    found = records.read(records.Run, calm / records.RUN_PATH)
    assert found.config["trainer"] == "dpo" and found.config["beta"] == 0.1
    assert found.adapter is None and found.dataset.rows == {"train": 24, "validation": 8}
    assert found.training.final["eval_rewards/margins"] == round(margins[1], 6)
    assert (found.training.samples, found.training.effective_batch_size) == (48, 2)
    assert 0 < found.training.learned_tokens < found.training.tokens
    assert found.system_prompt == SYSTEM
    card = (calm / "README.md").read_text("utf-8")
    assert "DPO" in card and not [text for text in WARM + COLD if text in card]


def test_a_killed_run_goes_on_to_the_same_adapter(calm: Path, planted: Path, nobody, run):
    killed = planted / "killed"
    process = fork_server.start([*DPO, "--output_dir", "killed"], cwd=planted, env=nobody)
    wait_for(killed / "checkpoint-6" / "kosent-checkpoint.json", process)
    process.kill()
    process.communicate()
    assert not (killed / records.RUN_PATH).exists()
    said = trained(run, planted, nobody, "killed")
    assert "going on from" in said and weights(killed) == weights(calm)


def test_from_an_adapter_that_adapter_is_the_reference_and_stays_as_it_was(
    calm: Path, run, planted: Path, nobody
):
    before = weights(calm)
    said = trained(run, planted, nobody, "second", "--adapter", "calm", "--lora_r", "4")
    assert "DPO; the reference is calm as it is now" in said
    second = planted / "second"
    # The margin is counted from the adapter's, and the first steps are small.
    assert abs(curve(second, "rewards/margins")[0]) < 0.1
    assert curve(second, "eval_rewards/margins")[-1] > 0
    assert weights(calm) == before and weights(second) != before
    found = records.read(records.Run, second / records.RUN_PATH)
    assert found.adapter == records.Repo("calm", None, local=True)
    assert found.config["lora_r"] == 16  # calm's, whatever is asked for
    first = records.read(records.Run, calm / records.RUN_PATH)
    assert found.parameters == first.parameters
    assert not (second / "ref").exists()
    done = run(
        [sys.executable, "-m", "kosent_hub.evaluate", "--model", "second", "--dataset", "dataset",
         "--limit", "2", "--max-new-tokens", "4", "--embedder", "none"], cwd=planted, env=nobody,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_a_judge_preferred_can_be_trained_on(run, planted: Path, nobody):
    folder = evaluation(planted / "judged", samples=20, split="train")
    export = ["export", folder, "--preferences", planted / "preferred" / "train.jsonl"]
    with serving(Planted()) as url:
        for command in ([folder, "--endpoint", url, "--judge-model", "planted"], export):
            done = run(["kosent-judge", *command], cwd=planted, env=nobody)
            assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(
        f"kosent-train --config RECIPE/dpo --dataset_name {planted}/preferred\n"
    )
    said = trained(
        run, planted, nobody, "pleased", "--dataset_name", "preferred", "--max_steps", "2"
    )
    assert "train: 18 pairs" in said  # two of twenty had equal replies


def test_a_pair_is_shown_before_it_is_trained_on(run, planted: Path, nobody):
    done = run([*DPO, "--inspect", "1", "--json"], cwd=planted, env=nobody)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)["samples"]
    learned = [[p["text"] for p in each["parts"] if p["kind"] == "learned"] for each in shown]
    assert learned == [[WARM[0]], [COLD[0]]] and all(each["same"] for each in shown)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--dataset_name", "pairs/train.jsonl"], "is a file: put it into a folder as train.jsonl"),
        (["--dataset_name", "dataset"], "no column `prompt`"),
        (["--adapter", BASE], "is a whole model, no adapter"),
        (["--sync_ref_model", "true"], "TRL has this for whole models alone"),
        (["--packing", "true"], "--packing: unknown flag"),
        (["--trainer", "ppo"], "trainer is 'ppo'; write sft or dpo"),
        (["--trainer", "sft"], "unknown key 'beta'; see TRL's SFTConfig (DPOConfig with"),
        (["--dataset_name", "odd"], "`chosen` is not one reply by the assistant"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(run, planted: Path, nobody, flags, line):
    write(planted / "odd" / "train.jsonl", [pair(1) | {"chosen": pair(1)["prompt"]}])
    said = trained(run, planted, nobody, "unmade", *flags, code=2)
    assert line in said and not (planted / "unmade").exists()
