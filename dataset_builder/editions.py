"""The editions of AI Hub's corpus: which file is one, which split it holds, and its rows.

The only place that knows a source column. What it gives on has the same columns for every edition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from . import columns, tables, taxonomy, workbook
from .losses import NOT_TEXT
from .sources import File, SourceError

LABELS = {
    "age": "연령",
    "gender": "성별",
    "situation": "상황키워드",
    "disease": "신체질환",
    "major": "감정_대분류",
    "minor": "감정_소분류",
}
USER = "사람문장"
# Reply columns and number of turns -> edition. 2021's raw and final files share their names.
EDITIONS = {
    ("시스템응답", 3): "2021-raw",
    ("시스템응답", 4): "2021-final",
    ("시스템문장", 3): "2022",
}
JSON_EDITION = "json"
# Enough for a first line, and for a first record of about a thousand bytes.
START = 1 << 16
JSON_TURN = re.compile(r"(HS|SS)0([1-9])")

# Of the files of 2021, which share their names otherwise, those before the final ones.
RAW = "원시데이터"
# First the one with persona ids and codes, then the newest.
EDITION_ORDER = (JSON_EDITION, "2022", "2021-final", "2021-raw")
CONTAINERS = {".json": "json", ".xlsx": "xlsx", ".csv": "csv", ".tsv": "tsv", ".txt": "txt"}
DELIMITERS = {"csv": ",\t", "tsv": "\t,", "txt": ",\t"}

# A folder or file name that holds one of these words says its split. Validation becomes the test
# split: the corpus has no other.
SPLITS = {"training": "train", "train": "train", "validation": "test", "valid": "test"}
SPLITS |= {"val": "test", "test": "test"}
_WORD = re.compile(r"[a-z]+")

NOT_A_RECORD = "not_a_record"


@dataclass(frozen=True)
class Source:
    """A file of the corpus: what it is, before its rows are read."""

    file: File
    split: str | None
    edition: str
    container: str
    turns: int
    delimiter: str = ""
    sheet: str = ""


@dataclass(frozen=True)
class Raw:
    """The rows of one source.

    `table` has line, row, persona, talk, the labels, and user1, reply1, ... for `turns` turns.
    `faults` are rows or values that could not be taken: (reason, line).
    """

    table: pa.Table
    turns: int
    codec: str
    faults: list[tuple[str, int]]


def recognise(file: File) -> Source | str | None:
    """The source that a file is, or why it is none; None if it is no kind of file we read.

    Raises:
        SourceError: the corpus's columns but not all of them, or text in no known codec.
    """
    container = CONTAINERS.get(file.suffix)
    if container is None:
        return None
    split = split_of(file.name)
    if container == "xlsx":
        for sheet, _, cells in workbook.read_sheets(file.read(), file.name):
            edition = _edition([tables.cell_text(cell).strip() for cell in cells[0]], file.name)
            if edition is not None:
                return Source(file, split, edition[0], container, edition[1], sheet=sheet)
        return "no sheet has the corpus's columns"
    data = file.read(START)
    if container == "json":
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not (start.startswith(b"[") and b'"talk"' in start and b'"profile"' in start):
            return "not a list of the corpus's records"
        return Source(file, split, JSON_EDITION, container, 0)
    for line in tables.first_lines(data, file.name):
        for delimiter in DELIMITERS[container]:
            edition = _edition(tables.cells(line, delimiter), file.name)
            if edition is not None:
                return Source(file, split, edition[0], container, edition[1], delimiter)
    return "its first line has not the corpus's columns"


def split_of(name: str) -> str | None:
    """`train` or `test`, from the last folder or file name in the path that says it."""
    for part in reversed(name.split("/")):
        found = {SPLITS[word] for word in _WORD.findall(part.lower()) if word in SPLITS}
        if len(found) == 1:
            return found.pop()
    return None


def read(source: Source) -> Raw:
    """The rows of a source, in its own order."""
    data, where = source.file.read(), source.file.name
    if source.container == "xlsx":
        return _read_workbook(source, data)
    if source.container != "json":
        tables.refuse_endless(data, where)
    text, codec = tables.decode(data, where)
    del data
    if source.container == "json":
        return _read_json(text, codec, where)
    names = tables.cells(re.split(r"[\r\n]", text, maxsplit=1)[0], source.delimiter)
    rows = tables.read_text(text, source.delimiter, len(names), where)
    return _by_columns(source, names, rows, codec)


def _edition(names: list[str], where: str) -> tuple[str, int] | None:
    """Edition and number of turns that these columns mean, None if they are not the corpus's."""
    if f"{USER}1" not in names:
        return None
    for (reply, turns), edition in EDITIONS.items():
        wanted = [f"{stem}{n}" for n in range(1, turns + 1) for stem in (USER, reply)]
        said = [name for name in names if re.fullmatch(rf"({USER}|시스템응답|시스템문장)\d+", name)]
        if sorted(said) != sorted(wanted):
            continue
        missing = [label for label in LABELS.values() if names.count(label) != 1]
        if missing:
            raise SourceError(
                f"{where}, line 1",
                f"column {missing[0]} is missing or there twice",
                "the corpus has it once, so put it back or move the file out of SOURCE",
            )
        return edition, turns
    raise SourceError(
        f"{where}, line 1",
        f"has {USER}1, but its turns are no known edition's (시스템문장1 to 3, or 시스템응답1 to "
        "3 or 4, each beside its 사람문장)",
        "name the columns as AI Hub does",
    )


def _by_columns(source: Source, names: list[str], rows: tables.Rows, codec: str) -> Raw:
    """The edition's columns under our names."""
    reply = next(r for (r, n), e in EDITIONS.items() if e == source.edition and n == source.turns)
    column = dict(zip(names, rows.columns, strict=True))
    count = len(rows.lines)
    nothing = pa.nulls(count, pa.string())
    data = {
        "line": columns.integers(rows.lines),
        "row": columns.integers(np.arange(1, count + 1)),
        "persona": nothing,
        "talk": nothing,
        **{ours: column[theirs] for ours, theirs in LABELS.items()},
    }
    for n in range(1, source.turns + 1):
        data |= {f"user{n}": column[f"{USER}{n}"], f"reply{n}": column[f"{reply}{n}"]}
    return Raw(pa.table(data), source.turns, codec, rows.faults)


def _read_workbook(source: Source, data: bytes) -> Raw:
    for sheet, first, cells in workbook.read_sheets(data, source.file.name):
        if sheet != source.sheet:
            continue
        rows = [[tables.cell_text(cell) for cell in row] for row in cells]
        names = [name.strip() for name in rows.pop(0)]
        while rows and not any(cell.strip() for cell in rows[-1]):
            rows.pop()
        lines = np.arange(first + 1, first + 1 + len(rows))
        return _by_columns(
            source, names, tables.Rows(tables.as_columns(rows, len(names)), lines), ""
        )
    raise SourceError(source.file.name, "changed while it was read", "build again")


def _read_json(text: str, codec: str, where: str) -> Raw:
    records: list[dict[str, str | None]] = []
    faults: list[tuple[str, int]] = []
    places: list[tuple[int, int]] = []
    turns = 1
    for row, (line, record) in enumerate(tables.json_records(text, where), start=1):
        if not isinstance(record, dict):
            faults.append((NOT_A_RECORD, line))
            continue
        content = _inside(record, "talk", "content")
        values = {**_facts(record), **dict(_turns(content, faults, line))}
        turns = max([turns, *(int(name[-1]) for name in values if name[-1].isdigit())])
        records.append(values)
        places.append((line, row))
    names = ["persona", "talk", *LABELS]
    names += [f"{role}{n}" for n in range(1, turns + 1) for role in ("user", "reply")]
    empty = {"persona": None, "talk": None}
    data = {
        "line": columns.integers(np.array([line for line, _ in places], np.int64)),
        "row": columns.integers(np.array([row for _, row in places], np.int64)),
        **{
            name: columns.texts(r.get(name, empty.get(name, "")) for r in records) for name in names
        },
    }
    return Raw(pa.table(data), turns, codec, faults)


def _facts(record: dict[str, Any]) -> dict[str, str | None]:
    """Persona, talk id and labels of a record, its codes turned into names."""
    profile = record.get("profile")
    facts: dict[str, str | None] = {
        "persona": _id(_inside(profile, "persona-id")),
        "talk": _id(_inside(record, "talk", "id", "talk-id")),
    }
    codes = [_inside(profile, "emotion", "type")]
    for place in (("persona", "human"), ("emotion", "situation")):
        listed = _inside(profile, *place)
        codes += listed if isinstance(listed, list) else [listed]
    kinds = {"A": "age", "G": "gender", "S": "situation", "D": "disease"}
    for code in codes:
        if not isinstance(code, str) or not tables.encodable(code):
            continue
        known = taxonomy.names(code.strip())
        if known is not None and len(known) == 2:
            facts |= {"major": known[0], "minor": known[1]}
        elif (kind := kinds.get(code.strip()[:1])) is not None:
            facts[kind] = known[0] if known else code
        elif code.strip():
            facts["major"] = code
    return facts


def _turns(content: Any, faults: list[tuple[str, int]], line: int) -> Iterator[tuple[str, str]]:
    """Name and text of each turn of a record; what is no text is a fault."""
    for key, value in content.items() if isinstance(content, dict) else ():
        text = tables.cell_text(value) if not isinstance(value, (dict, list)) else None
        turn = JSON_TURN.fullmatch(key)
        if turn is not None and text is not None and tables.encodable(text):
            yield f"{'user' if turn[1] == 'HS' else 'reply'}{turn[2]}", text
        elif text is None or text.strip():
            faults.append((NOT_TEXT, line))


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _id(value: Any) -> str | None:
    usable = isinstance(value, str) and value.strip() and tables.encodable(value)
    return value.strip() if usable else None
