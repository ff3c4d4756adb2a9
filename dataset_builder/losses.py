"""What a build did, kept as it goes: every row or turn that is not in the result, by reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SCHEMA_VERSION = 1
# A label longer than any real one may be a sentence in the wrong column: its place will do.
MAX_LABEL_LENGTH = 15

REASONS = {
    "blank": "rows without any turn",
    "no_first_user": "rows without a first user turn",
    "no_first_reply": "rows without a first reply",
    "too_many_cells": "rows with more cells than columns",
    "not_a_record": "items that are no record",
    "user_without_reply": "user turns without a reply",
    "reply_without_user": "replies without a user turn",
    "after_gap": "turns after a gap",
    "not_text": "values that are no text",
    "in_test": "training dialogues that are in test too",
    "duplicate": "training dialogues that are there already",
}


@dataclass
class Tally:
    """How many, by reason, and the lines they are on, by reason and file."""

    count: dict[str, int] = field(default_factory=dict)
    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def add(self, reason: str, file: str, lines: Iterable[int], count: int | None = None) -> None:
        """Note `count` of them (default: one a line) on these lines."""
        listed = [int(line) for line in lines]
        if not listed:
            return
        self.count[reason] = self.count.get(reason, 0) + (len(listed) if count is None else count)
        self.lines.setdefault(reason, {}).setdefault(file, []).extend(listed)

    def total(self) -> int:
        """All of them."""
        return sum(self.count.values())

    def first(self) -> str | None:
        """`FILE, line N: what` of the first noted one."""
        for reason, files in self.lines.items():
            for file, lines in files.items():
                return f"{file}, line {lines[0]}: one of {self.count[reason]} {REASONS[reason]}"
        return None

    def as_json(self) -> dict[str, Any]:
        """Reason -> count and lines."""
        return {
            reason: {"count": self.count[reason], "lines": self.lines[reason]}
            for reason in REASONS
            if reason in self.count
        }


@dataclass
class Labels:
    """Labels that were not the taxonomy's own: mapped ones, blank ones, unknown ones."""

    mapped: dict[str, dict[str, int]] = field(default_factory=dict)
    blank: dict[str, int] = field(default_factory=dict)
    unknown: list[dict[str, Any]] = field(default_factory=list)

    def add_mapped(self, kind: str, label: str, count: int) -> None:
        """Note a variant that was brought to its name."""
        of_kind = self.mapped.setdefault(kind, {})
        of_kind[label] = of_kind.get(label, 0) + count

    def add_unknown(self, kind: str, label: str, count: int, file: str, line: int) -> None:
        """Note a label that is kept though the taxonomy has it not."""
        shown = label if len(label) <= MAX_LABEL_LENGTH else None
        self.unknown.append(
            {"kind": kind, "label": shown, "count": count, "file": file, "line": line}
        )


@dataclass
class Findings:
    """Everything a build noticed on its way; `utterances` account for every one that was read.

    read = in_dropped_rows + trimmed + in_removed_dialogues + kept
    """

    dropped: Tally = field(default_factory=Tally)
    trimmed: Tally = field(default_factory=Tally)
    removed: Tally = field(default_factory=Tally)
    labels: Labels = field(default_factory=Labels)
    utterances: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("read", "in_dropped_rows", "trimmed", "in_removed_dialogues", "kept"), 0
        )
    )
    read: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The findings as report.json holds them."""
        return {
            "inputs": self.inputs,
            "read": self.read,
            "left": self.left,
            "utterances": self.utterances,
            "dropped_rows": self.dropped.as_json(),
            "trimmed_turns": self.trimmed.as_json(),
            "removed_dialogues": self.removed.as_json(),
            "labels": {
                "mapped": self.labels.mapped,
                "blank": self.labels.blank,
                "unknown": self.labels.unknown,
            },
            "notes": self.notes,
        }


def places(lines: np.ndarray, mask: np.ndarray) -> list[int]:
    """The lines under a mask, as Python integers."""
    return [int(line) for line in lines[mask]]
