"""The numbers of dialogues and turns of a dataset, by split and by label."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from . import columns, personal, taxonomy
from .losses import MAX_LABEL_LENGTH

LABELS = ("emotion_code", "emotion_major", "situation", "age", "gender", "disease", "turns")
UNKNOWN = "unknown"


def count(tables: dict[str, pa.Table]) -> dict[str, Any]:
    """`splits`: dialogues, turns, characters; then for each label: value -> split -> dialogues."""
    found: dict[str, Any] = {
        "splits": {
            split: {
                "dialogues": len(table),
                "turns": int(pc.sum(table["turns"]).as_py() or 0),
                "characters": _characters(table),
            }
            for split, table in tables.items()
        }
    }
    for label in LABELS:
        found[label] = _by_value(tables, label)
    return found


def personal_data(tables: dict[str, pa.Table]) -> dict[str, dict[str, dict[str, Any]]]:
    """Split -> kind -> how many pieces of personal data its turns hold, in which dialogues."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for split, table in tables.items():
        found[split] = {kind: {"found": 0, "dialogue_ids": []} for kind in personal.KINDS}
        for batch in table.select(["dialogue_id", "messages"]).to_batches():
            turns = pc.list_flatten(batch["messages"]).field("content")
            owners = columns.numbers(pc.list_parent_indices(batch["messages"]))
            for turn, kind in personal.occurrences(turns):
                one, dialogue = found[split][kind], batch["dialogue_id"][owners[turn]].as_py()
                one["found"] += 1
                if dialogue not in one["dialogue_ids"][-1:]:
                    one["dialogue_ids"].append(dialogue)
    return found


def _characters(table: pa.Table) -> int:
    """The characters of all turns together, without the system message."""
    messages = pc.list_flatten(table["messages"])
    spoken = pc.not_equal(pc.struct_field(messages, "role"), columns.text("system"))
    lengths = pc.utf8_length(pc.struct_field(messages, "content"))
    return int(pc.sum(lengths.filter(spoken)).as_py() or 0)


def _by_value(tables: dict[str, pa.Table], label: str) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split, table in tables.items():
        for entry in table[label].value_counts().to_pylist():
            by_split = counts.setdefault(_shown(entry["values"]), {})
            by_split[split] = by_split.get(split, 0) + entry["counts"]
    return {value: counts[value] for value in sorted(counts, key=_rank)}


def _shown(value: str | int | None) -> str:
    """The label, or UNKNOWN for one so long that it may be a sentence in the wrong column."""
    text = "" if value is None else str(value)
    return text if 0 < len(text) <= MAX_LABEL_LENGTH else UNKNOWN


def _rank(value: str) -> tuple[int, str]:
    """A sort key: the taxonomy's own order, then labels unknown to it."""
    known = [*taxonomy.MAJORS.values()]
    for table in (taxonomy.SITUATIONS, taxonomy.AGES, taxonomy.GENDERS, taxonomy.DISEASES):
        known += table.values()
    place = known.index(value) if value in known else len(known)
    return place + (value == UNKNOWN), value
