"""Rows of the corpus -> dialogues: a system message, then unbroken pairs of user and reply."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import columns, editions, personal
from .labels import name_labels
from .losses import Notes
from .options import CorpusOptions

ROLES = ("user", "assistant")

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
SCHEMA = pa.schema(
    [
        ("dialogue_id", pa.string()),
        ("messages", pa.list_(MESSAGE)),
        ("emotion_code", pa.string()),
        ("emotion_major", pa.string()),
        ("emotion_minor", pa.string()),
        ("situation", pa.string()),
        ("disease", pa.string()),
        ("age", pa.string()),
        ("gender", pa.string()),
        ("turns", pa.int32()),
        ("source_row", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Dialogues:
    """Some dialogues of one source.

    `table` has a row for each: SCHEMA's columns but for messages, then part, line, persona, and
    first (the match key of the first utterance). `utterances` holds those of the whole source: the
    system message, then the first user turns of its `n_rows` rows, their first replies, their
    second user turns, and so on. `rows[i]` is the source row of dialogue i. Picking dialogues
    copies none of the utterances.
    """

    table: pa.Table
    rows: np.ndarray
    utterances: pa.Array
    n_rows: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def turns(self) -> np.ndarray:
        """The number of pairs of each dialogue."""
        return columns.numbers(self.table["turns"])

    def pick(self, which: np.ndarray) -> Dialogues:
        """The dialogues under this mask."""
        if which.all():
            return self
        table = self.table.filter(columns.booleans(which))
        return replace(self, table=table, rows=self.rows[which])

    def turns_of(self, role: str) -> list[tuple[pa.Array, np.ndarray]]:
        """For each turn of a role, its utterances by source row and the rows that were kept."""
        first, step = 1 + ROLES.index(role) * self.n_rows, 2 * self.n_rows or 1
        return [
            (self.utterances.slice(start, self.n_rows), self.rows[self.turns > turn])
            for turn, start in enumerate(range(first, len(self.utterances), step))
        ]

    def to_table(self) -> pa.Table:
        """The dialogues as SCHEMA's rows."""
        return self.table.append_column("messages", self.messages()).select(SCHEMA.names)

    def messages(self) -> pa.ListArray:
        """Lists of {role, content}: the system message, unless it is empty, and the pairs."""
        width = (len(self.utterances) - 1) // self.n_rows if self.n_rows else 0
        # Dialogue by dialogue: the index of each message in `utterances`, and whether it has it.
        index = np.zeros((len(self), 1 + width), np.int64)
        index[:, 1:] = 1 + np.arange(width) * self.n_rows + self.rows[:, None]
        has = np.arange(1 + width) <= 2 * self.turns[:, None]
        has[:, 0] = self.utterances[0].as_py() != ""
        speakers = np.resize([2, 1], 1 + width).astype(np.int8)
        speakers[0] = 0
        roles = columns.texts(["system", *ROLES]).take(
            columns.integers(np.broadcast_to(speakers, has.shape)[has])
        )
        offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype(np.int32)
        contents = self.utterances.take(columns.integers(index[has]))
        items = pa.StructArray.from_arrays([roles, contents], fields=MESSAGE)
        return pa.ListArray.from_arrays(columns.integers(offsets), items)


def dialogues(raw: editions.Raw, split: str, options: CorpusOptions, notes: Notes) -> Dialogues:
    """The dialogues of a source; every dropped row and trimmed turn is noted."""
    n_rows = len(raw.table)
    names = editions.turn_columns(raw.turns)
    cells = [chunk for name in names for chunk in raw.table[name].chunks]
    utterances = columns.trimmed(pa.concat_arrays([columns.texts([options.system_prompt]), *cells]))
    holds_text = columns.is_not_blank(utterances.slice(1))
    notes.marks(utterances.slice(1).filter(pc.invert(holds_text)))
    if options.mask_personal_data:
        spoken, masked = personal.mask(utterances.slice(1))
        utterances = pa.concat_arrays([utterances.slice(0, 1), spoken])
        notes.masked(masked)
    there = columns.mask(holds_text).reshape(len(names), n_rows).T
    run = np.logical_and.accumulate(there[:, 0::2] & there[:, 1::2], axis=1)
    _account(there, run, notes)
    for reason, part, line in raw.faults:
        notes.fault(reason, part, line)

    whole = run[:, 0]
    rows = np.flatnonzero(whole)
    table = raw.table.drop_columns(names)
    if len(rows) < n_rows:
        table = table.take(columns.integers(rows))
    data = {
        "dialogue_id": _ids(table, split),
        **name_labels(table, notes.at(rows)),
        "turns": columns.integers(run[whole].sum(axis=1, dtype=np.int32)),
        "source_row": table["row"].combine_chunks().cast(pa.int32()),
        "part": table["part"],
        "line": table["line"],
        "persona": table["persona"],
        "first": columns.match_key(utterances.slice(1, n_rows).take(columns.integers(rows))),
    }
    return Dialogues(pa.table(data), rows, utterances, n_rows)


def _account(there: np.ndarray, run: np.ndarray, notes: Notes) -> None:
    """Note each dropped row and each trimmed turn.

    `there` says of each row which of its cells hold text (user, reply, user, ...), `run` which of
    its pairs belong to the unbroken run from the first.
    """
    user, reply = there[:, 0::2], there[:, 1::2]
    whole = run[:, 0]
    blank = ~there.any(axis=1)
    for reason, rows in {
        "blank": blank,
        "no_first_user": ~blank & ~user[:, 0],
        "no_first_reply": user[:, 0] & ~reply[:, 0],
    }.items():
        notes.drop(reason, rows)
    # `gap` is the first pair that is not whole, `beyond` the pairs after it.
    gap = ~run & np.concatenate([np.zeros((len(run), 1), bool), run[:, :-1]], axis=1)
    beyond = ~run & ~gap & whole[:, None]
    for reason, each in {
        "user_without_reply": gap & user,
        "reply_without_user": gap & reply,
        "after_gap": np.concatenate([beyond & user, beyond & reply], axis=1),
    }.items():
        notes.trim(reason, each.sum(axis=1))
    notes.count(
        read=int(there.sum()),
        in_dropped_rows=int(there[~whole].sum()),
        trimmed=int(there[whole].sum() - 2 * run.sum()),
    )


def _ids(table: pa.Table, split: str) -> pa.Array:
    """The corpus's own ids if no two dialogues share one, else split and row number."""
    talk = table["talk"].combine_chunks()
    if len(talk) and not talk.null_count and len(talk.unique()) == len(talk):
        return talk
    numbers = pc.utf8_lpad(table["row"].cast(pa.string()), 6, "0").combine_chunks()
    return pc.binary_join_element_wise(columns.text(split), numbers, columns.text("-"))
