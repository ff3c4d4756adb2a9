"""A test split as a task folder of lm-eval, EleutherAI's evaluation harness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_file

from .folder import read_splits

SPLIT = "test"
SAMPLES = f"{SPLIT}.jsonl"
TASKS = ("replies", "likelihood")
# The module that the tasks name, which lm-eval reads from beside them.
CODE = "utils.py"


def of_folder(dataset: Path) -> list[dict[str, Any]]:
    """The samples of a dataset folder's test split: one for each reply to a user.

    A sample has an `id`, `<dialogue_id>#<turn>`, the `messages` before the reply, and `targets`, a
    list of the one true reply. Raises KoSentError for a folder without a test split.
    """
    table = read_splits(dataset).get(SPLIT)
    if table is None:
        raise KoSentError(dataset, f"no split {SPLIT!r}", "build it from a corpus that has one")
    rows = table.select(["dialogue_id", "messages"]).to_pylist()
    return [sample for row in rows for sample in _of_dialogue(row["dialogue_id"], row["messages"])]


def of_bench() -> list[dict[str, Any]]:
    """The samples of KoSent-Bench's dialogues, with both references each."""
    from .bench import load, turns

    return [
        {"id": turn.id, "messages": turn.input, "targets": list(turn.targets)}
        for turn in turns(load())
        if turn.part == "dialogues"
    ]


def write(
    samples: Sequence[dict[str, Any]], name: str, folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """Write the samples and the tasks `<name>_replies` and `<name>_likelihood`; their files.

    Raises KoSentError where one of the files is there already, unless `overwrite`.
    """
    source = resources.files("dataset_builder") / "lm_eval_task"
    files = {CODE: (source / CODE).read_text(encoding="utf-8")}
    for task in TASKS:
        files[f"{task}.yaml"] = (
            (source / f"{task}.yaml").read_text(encoding="utf-8").replace("NAME", name)
        )
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples]
    files[SAMPLES] = "".join(lines)
    paths = {folder / name: text for name, text in files.items()}
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None and not overwrite:
        raise KoSentError(taken, "already there", "name another folder, or add --overwrite")
    with ExitStack() as together:  # all files or none
        for path, text in paths.items():
            together.enter_context(atomic_file(path)).write(text.encode())
    return list(paths)


def _of_dialogue(dialogue_id: str, messages: list[dict[str, str]]) -> list[dict[str, Any]]:
    places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return [
        {
            "id": f"{dialogue_id}#{turn}",
            "messages": messages[:place],
            "targets": [messages[place]["content"]],
        }
        for turn, place in enumerate(places, start=1)
        if place > 0
    ]
