"""Rows of the corpus -> dialogues: a system message, then unbroken pairs of user and reply."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import aihub, arrays, taxonomy
from .arrays import mask
from .report import Findings, Labels, places

SYSTEM_PROMPT = "당신은 감정을 공감해주는 챗봇입니다."
# What spreadsheets and scripts write into a cell that holds nothing.
NOTHING = ["", "nan", "None"]
# Spaces of every kind, and the two invisible marks that are not counted among them.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\ufeff"

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


def dialogues(raw: aihub.Raw, split: str, file: str, findings: Findings) -> pa.Table:
    """The source's dialogues: SCHEMA's columns but for messages, then line, persona, user1, ...

    What is dropped or trimmed on the way is noted in `findings`. In user1, reply1, ... a turn
    outside its dialogue's unbroken run is empty.
    """
    names = turn_names(raw.table)
    cells = [_trimmed(raw.table[name]) for name in names]
    said = np.stack([mask(pc.invert(pc.is_in(c, arrays.texts(NOTHING)))) for c in cells], axis=1)
    run = np.logical_and.accumulate(said[:, 0::2] & said[:, 1::2], axis=1)
    _account(said, run, raw, file, findings)

    whole = run[:, 0]
    table = raw.table.drop_columns(names)
    if not whole.all():
        rows = arrays.integers(np.flatnonzero(whole))
        table, cells, run = table.take(rows), [cell.take(rows) for cell in cells], run[whole]
    empty = arrays.text("")
    return pa.table(
        {
            "dialogue_id": _ids(table, split),
            **_labels(table, file, findings.labels),
            "turns": arrays.integers(run.sum(axis=1, dtype=np.int32)),
            "source_row": table["row"].combine_chunks().cast(pa.int32()),
            "line": table["line"],
            "persona": table["persona"],
            **{
                name: pc.if_else(arrays.booleans(run[:, i // 2]), cell, empty)
                for i, (name, cell) in enumerate(zip(names, cells, strict=True))
            },
        }
    )


def rows(table: pa.Table, system_prompt: str) -> pa.Table:
    """What `dialogues` gave (or some of it) as SCHEMA's rows."""
    cells = [table[name].combine_chunks() for name in turn_names(table)]
    messages = _messages(cells, arrays.numbers(table["turns"]), system_prompt)
    return table.append_column("messages", messages).select(SCHEMA.names)


def turn_names(table: pa.Table) -> list[str]:
    """user1, reply1, user2, ... as far as the table goes."""
    return [name for name in table.column_names if name[:-1] in ("user", "reply")]


def _messages(cells: list[pa.Array], turns: np.ndarray, system_prompt: str) -> pa.ListArray:
    """Lists of {role, content}: the system message, unless it is empty, and `turns` pairs."""
    count, width = len(turns), len(cells)
    contents = pa.concat_arrays([arrays.texts([system_prompt]), *cells])
    # Row by row: the place of each message in `contents`, and whether the row has it.
    place = np.empty((count, 1 + width), np.int64)
    place[:, 0] = 0
    place[:, 1:] = 1 + np.arange(width) * count + np.arange(count)[:, None]
    has = np.arange(1 + width) <= 2 * turns[:, None]
    has[:, 0] = bool(system_prompt)
    speakers = np.resize([2, 1], 1 + width).astype(np.int8)
    speakers[0] = 0
    roles = arrays.texts(["system", "user", "assistant"]).take(
        arrays.integers(np.broadcast_to(speakers, has.shape)[has])
    )
    offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype(np.int32)
    items = pa.StructArray.from_arrays(
        [roles, contents.take(arrays.integers(place[has]))], fields=MESSAGE
    )
    return pa.ListArray.from_arrays(arrays.integers(offsets), items)


def _account(
    said: np.ndarray, run: np.ndarray, raw: aihub.Raw, file: str, findings: Findings
) -> None:
    """Note each dropped row and each trimmed turn."""
    lines = arrays.numbers(raw.table["line"])
    user, reply = said[:, 0::2], said[:, 1::2]
    whole = run[:, 0]
    blank = ~said.any(axis=1)
    for reason, rows in {
        "blank": blank,
        "no_first_user": ~blank & ~user[:, 0],
        "no_first_reply": user[:, 0] & ~reply[:, 0],
    }.items():
        findings.dropped.add(reason, file, places(lines, rows))
    # The first pair that is not whole; what comes after it is after a gap.
    gap = ~run & np.concatenate([np.zeros((len(run), 1), bool), run[:, :-1]], axis=1)
    beyond = ~run & ~gap & whole[:, None]
    for reason, each in {
        "user_without_reply": gap & user,
        "reply_without_user": gap & reply,
        "after_gap": np.concatenate([beyond & user, beyond & reply], axis=1),
    }.items():
        findings.trimmed.add(reason, file, places(lines, each.any(axis=1)), int(each.sum()))
    for reason, line in raw.faults:
        where = findings.trimmed if reason == aihub.NOT_TEXT else findings.dropped
        where.add(reason, file, [line])
    counts = findings.utterances
    counts["read"] += int(said.sum())
    counts["in_dropped_rows"] += int(said[~whole].sum())
    counts["trimmed"] += int(said[whole].sum() - 2 * run.sum())


def _labels(table: pa.Table, file: str, notes: Labels) -> dict[str, pa.Array]:
    """The label columns under the taxonomy's names; what it does not know is kept and noted."""
    lines = arrays.numbers(table["line"])
    found = {kind: _named(kind, _trimmed(table[kind]), lines, file, notes) for kind in aihub.LABELS}
    majors, minors = (
        pc.fill_null(found[kind], arrays.text("")).dictionary_encode()
        for kind in ("major", "minor")
    )
    pairs, first, inverse, counts = np.unique(
        arrays.numbers(majors.indices) * np.int64(len(minors.dictionary))
        + arrays.numbers(minors.indices),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    codes: list[str | None] = []
    for pair, row, times in zip(pairs, first, counts, strict=True):
        one, other = divmod(int(pair), len(minors.dictionary))
        major, minor = majors.dictionary[one].as_py(), minors.dictionary[other].as_py()
        codes.append(taxonomy.emotion_code(major, minor))
        known = major in taxonomy.ENGLISH and taxonomy.canonical("minor", minor) == minor
        if codes[-1] is None and known:
            both = f"{major} / {minor}"
            notes.add_unknown("emotion", both, int(times), file, int(lines[row]))
    return {
        "emotion_code": arrays.texts(codes).take(arrays.integers(inverse.astype(np.int64))),
        "emotion_major": found["major"],
        "emotion_minor": found["minor"],
        **{kind: found[kind] for kind in ("situation", "disease", "age", "gender")},
    }


def _named(kind: str, column: pa.Array, lines: np.ndarray, file: str, notes: Labels) -> pa.Array:
    """A label column with each label under its one name, a blank one null."""
    coded = column.dictionary_encode()
    indices = arrays.numbers(coded.indices)
    counts = np.bincount(indices, minlength=len(coded.dictionary))
    names: list[str | None] = []
    for number, label in enumerate(coded.dictionary.to_pylist()):
        name = taxonomy.canonical(kind, label)
        if label in NOTHING:
            names.append(None)
            notes.blank[kind] = notes.blank.get(kind, 0) + int(counts[number])
            continue
        names.append(name or label)
        if name is None:
            first = int(lines[np.argmax(indices == number)])
            notes.add_unknown(kind, label, int(counts[number]), file, first)
        elif name != label:
            notes.add_mapped(kind, label, int(counts[number]))
    return arrays.texts(names).take(coded.indices)


def _ids(table: pa.Table, split: str) -> pa.Array:
    """The corpus's own ids where every dialogue has its own, else split and row."""
    talk = table["talk"].combine_chunks()
    if len(talk) and not talk.null_count and len(talk.unique()) == len(talk):
        return talk
    numbers = pc.utf8_lpad(table["row"].cast(pa.string()), 6, "0").combine_chunks()
    return pc.binary_join_element_wise(arrays.text(split), numbers, arrays.text("-"))


def _trimmed(column: pa.ChunkedArray) -> pa.Array:
    return pc.utf8_trim(column.combine_chunks(), BLANKS)
