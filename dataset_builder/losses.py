"""The findings of a build: every row or turn that is not in the result, with reason and line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA_VERSION = 1
# A longer label may be a sentence in the wrong column, which must not leave the Parquet files.
MAX_LABEL_LENGTH = 15

# The reason for losing a value, where the other faults of a file lose a whole row.
NOT_TEXT = "not_text"
REPEATED_HEADER = "repeated_header"
REASONS = {
    "blank": "rows without any turn",
    "no_split": "rows whose split column names no split",
    "no_first_user": "rows without a first user turn",
    "no_first_reply": "rows without a first reply",
    "too_many_cells": "rows with more cells than columns",
    REPEATED_HEADER: "rows that repeat the header",
    "not_a_record": "items that are no record",
    "user_without_reply": "user turns without a reply",
    "reply_without_user": "replies without a user turn",
    "after_gap": "turns after a gap",
    NOT_TEXT: "values that are no text",
    "in_test": "training dialogues that are in test too",
    "in_validation": "training dialogues that are in validation too",
    "duplicate": "training dialogues that are there already",
}


@dataclass
class Tally:
    """Losses of one kind: their number by reason, their lines by reason and file."""

    count: dict[str, int] = field(default_factory=dict)
    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def add(self, reason: str, file: str, lines: Iterable[int], count: int | None = None) -> None:
        """Note `count` losses (default: one a line) on these lines."""
        listed = [int(line) for line in lines]
        if not listed:
            return
        self.count[reason] = self.count.get(reason, 0) + (len(listed) if count is None else count)
        self.lines.setdefault(reason, {}).setdefault(file, []).extend(listed)

    def total(self) -> int:
        """The number of all losses."""
        return sum(self.count.values())

    def first(self) -> str | None:
        """`FILE, line N: what` of the loss noted first, None if there is none."""
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
    """Labels that are not the taxonomy's own names: variants mapped to one, blank, unknown."""

    mapped: dict[str, dict[str, int]] = field(default_factory=dict)
    blank: dict[str, int] = field(default_factory=dict)
    unknown: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Findings:
    """Everything a build notes. `utterances` accounts for each one that was read:

    read = in_dropped_rows + trimmed + in_removed_dialogues + kept

    `marks` counts cells of turns that hold a word for nothing, such as NA, which are not read;
    `masked` the pieces of personal data that were replaced, by kind.
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
    marks: dict[str, int] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    read: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def about(self, files: Sequence[str], parts: np.ndarray, lines: np.ndarray) -> Notes:
        """Notes about rows of which the i-th starts at line `lines[i]` of `files[parts[i]]`."""
        return Notes(self, files, parts, lines)

    def as_json(self) -> dict[str, Any]:
        """The findings as report.json holds them."""
        return {
            "inputs": self.inputs,
            "read": self.read,
            "left": self.left,
            "utterances": self.utterances,
            "empty_marks": dict(sorted(self.marks.items())),
            "masked": self.masked,
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


@dataclass(frozen=True)
class Notes:
    """Findings about rows of one or more files; a mask says which rows."""

    findings: Findings
    files: Sequence[str]
    parts: np.ndarray
    lines: np.ndarray

    def at(self, rows: np.ndarray) -> Notes:
        """Notes about these rows only, in this order."""
        return Notes(self.findings, self.files, self.parts[rows], self.lines[rows])

    def drop(self, reason: str, mask: np.ndarray) -> None:
        """Note rows that gave no dialogue."""
        self._add(self.findings.dropped, reason, mask.astype(np.int64))

    def trim(self, reason: str, turns: np.ndarray) -> None:
        """Note how many turns each row lost."""
        self._add(self.findings.trimmed, reason, turns)

    def remove(self, reason: str, mask: np.ndarray) -> None:
        """Note dialogues that are left out of train."""
        self._add(self.findings.removed, reason, mask.astype(np.int64))

    def fault(self, reason: str, part: int, line: int) -> None:
        """Note a row, or for NOT_TEXT a value, that starts at this line and cannot be read."""
        losses = self.findings.trimmed if reason == NOT_TEXT else self.findings.dropped
        losses.add(reason, self.files[part], [line])

    def _add(self, losses: Tally, reason: str, counts: np.ndarray) -> None:
        for part, file in enumerate(self.files):
            rows = (counts > 0) & (self.parts == part)
            losses.add(reason, file, self.lines[rows], int(counts[rows].sum()))

    def count(self, **utterances: int) -> None:
        """Add to the account of utterances."""
        for name, number in utterances.items():
            self.findings.utterances[name] += number

    def marks(self, cells: pa.Array) -> None:
        """Note the cells among these that hold a word for nothing, as it is written."""
        for entry in cells.value_counts().to_pylist():
            if entry["values"]:
                marks = self.findings.marks
                marks[entry["values"]] = marks.get(entry["values"], 0) + entry["counts"]

    def masked(self, counts: dict[str, int]) -> None:
        """Note the pieces of personal data that were replaced, by kind."""
        masked = self.findings.masked
        for kind, count in counts.items():
            masked[kind] = masked.get(kind, 0) + count

    def blank(self, kind: str, count: int) -> None:
        """Note cells without a label of this kind."""
        blank = self.findings.labels.blank
        blank[kind] = blank.get(kind, 0) + count

    def mapped(self, kind: str, label: str, count: int) -> None:
        """Note a variant that was replaced by the taxonomy's name."""
        mapped = self.findings.labels.mapped.setdefault(kind, {})
        mapped[label] = mapped.get(label, 0) + count

    def unknown(self, kind: str, label: str, count: int, first: int) -> None:
        """Note a label that is kept though the taxonomy does not have it; `first` is its row."""
        shown = label if len(label) <= MAX_LABEL_LENGTH else None
        file, line = self.files[int(self.parts[first])], int(self.lines[first])
        self.findings.labels.unknown.append(
            {"kind": kind, "label": shown, "count": count, "file": file, "line": line}
        )
