"""What was written, scored again by kosent-eval: beside the adapter, on the same samples."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.options import SETTING, Options, record_id
from kosent_hub.evaluation.run import evaluate
from model_card.facts import gather_folder
from model_card.records import Results

# Settings of the adapter's evaluation that are not this one's: another baseline and its help, and
# what a record has only the digest of.
_OTHER = (
    "baseline", "baseline_system_prompt", "few_shot", "revision", "chat_template", "backend",
    "engine_arg",
)  # fmt: skip


def score(model: Path, run: Path, dataset: str) -> Results:
    """The scores of an exported model on a dataset, the adapter of `run` being its baseline.

    With the settings of the adapter's own evaluation there, if it has one.
    """
    settings = _settings(run, dataset)
    if settings:
        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        print(f"scored as the adapter was: {shown}", file=sys.stderr)
    found = evaluate(Options(model=str(model), baseline=str(run), dataset=dataset, **settings))
    assert found is not None  # one process
    return found


def _settings(run: Path, dataset: str) -> dict[str, Any]:
    """The settings of the adapter's newest evaluation on the dataset; {} without one."""
    known = {f.name for f in fields(Options) if f.metadata == SETTING} - set(_OTHER)
    name = record_id(dataset)
    there = [r for r in gather_folder(run).results if r.dataset.id == name]
    if not there:
        return {}
    newest = max(there, key=lambda r: r.created)
    found = {key: value for key, value in newest.settings.items() if key in known}
    if newest.dataset.split != "test":
        found["split"] = newest.dataset.split
    return found
