"""The corpus on its way through the Hub, in a size where a wrong turn would be felt."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.dataset_builder.corpora import large
from tests.support.stages import EVALUATION, Stage, stages, table

MODEL, DATASET = "alice/model", "alice/dialogues"
BIN = Path(sys.executable).parent
LOAD = """
import sys
from datasets import load_dataset
rows = load_dataset(sys.argv[1])
print({split: len(rows[split]) for split in rows}, file=sys.stderr)
"""


def to_and_from_the_hub(
    hub, tmp_path, tiny_llama, rows: dict[str, int], samples: int
) -> dict[str, Stage]:
    """What every stage took: build, push, load, and an evaluation of that many samples, pushed.

    Turns have the 14 characters that those of real chat have on average.
    """
    env = hub.env()
    source = large(tmp_path / "source", rows, longest=14)
    hub.create(MODEL, files={path.name: path for path in tiny_llama.iterdir()})

    def whole(*command: str | Path) -> Stage:
        return stages(command, env=env, cwd=tmp_path)["start"]

    took = {"build": whole(BIN / "kosent-data", "build", source, "dataset")}
    took["push"] = whole(BIN / "kosent-data", "push", "dataset", "--repo-id", DATASET)
    took["load"] = whole(sys.executable, "-c", LOAD, DATASET)
    command = [
        *(BIN / "kosent-eval", "--model", MODEL, "--dataset", DATASET, "--split", "train"),
        *("--limit", str(samples), "--max-new-tokens", "4", "--embedder", "none", "--push"),
    ]
    evaluation = stages(command, EVALUATION, env=env, cwd=tmp_path)
    took |= {f"evaluation, {name}": stage for name, stage in evaluation.items()}

    report = json.loads(hub.files(DATASET, "dataset")["report.json"])
    assert sum(split["dialogues"] for split in report["splits"].values()) == sum(rows.values())
    (record,) = (
        json.loads(content)
        for path, content in hub.files(MODEL).items()
        if path.startswith("kosent/eval/")
    )
    assert record["dataset"]["samples"] == samples
    assert len(hub.commits(MODEL)) == 3, "creation, the model, its scores"
    return took


@pytest.mark.slow
def test_five_thousand_dialogues_to_and_from_the_hub(hub, tmp_path, tiny_llama):
    took = to_and_from_the_hub(hub, tmp_path, tiny_llama, {"train": 4_400, "test": 600}, 1_000)
    print("\n" + table(took))
