"""The editions of AI Hub's corpus: which file is one, which split it holds, and its rows.

The only module that knows a source column: it names the columns of every edition alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import columns, tables, taxonomy, workbook
from .formats import ZIP, not_read, stand_in
from .losses import NOT_TEXT, REPEATED_HEADER
from .sources import START, File, Left, SourceError

USER = "사람문장"


@dataclass(frozen=True)
class Edition:
    """An edition; `reply_stem` and `turns` name the reply columns of one in tables."""

    name: str
    reply_stem: str = ""
    turns: int = 0

    @property
    def turn_names(self) -> list[str]:
        """The columns of its turns: the user's first, its reply, the user's second, ..."""
        return [f"{stem}{n}" for n in range(1, self.turns + 1) for stem in (USER, self.reply_stem)]


# The list of records: persona ids, and codes instead of labels.
JSON = Edition("json")
# In order of preference.
EDITIONS = (
    JSON,
    Edition("2022", "시스템문장", 3),
    Edition("2021-final", "시스템응답", 4),
    Edition("2021-raw", "시스템응답", 3),
)
# Part of the names of 2021's raw files, which share all else with the final ones.
RAW = "원시데이터"
LABELS = {
    "age": "연령",
    "gender": "성별",
    "situation": "상황키워드",
    "disease": "신체질환",
    "major": "감정_대분류",
    "minor": "감정_소분류",
}
JSON_TURN = re.compile(r"(HS|SS)0([1-9])")

CONTAINERS = {".json": "json", ".xlsx": "xlsx", ".csv": "csv", ".tsv": "tsv", ".txt": "txt"}
# What is looked into, whatever it turns out to be.
SUFFIXES = (*CONTAINERS, ".xls")
DELIMITERS = {"tsv": "\t,"}

# A folder, file or sheet whose name holds one of these words says its split. Validation becomes the
# test split: the corpus has no other.
SPLITS = dict.fromkeys(["training", "train", "학습", "훈련", "트레이닝"], "train")
SPLITS |= dict.fromkeys(["validation", "valid", "val", "test", "testing"], "test")
SPLITS |= dict.fromkeys(["검증", "평가", "테스트"], "test")
VALIDATION = {"validation", "valid", "val", "검증"}
# Words as they are set apart by capitals, digits and marks, without what often follows: TrainData.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TAIL = re.compile(r"(?<=.)(data|dataset|set)$")
_HANGUL = re.compile("|".join(word for word in SPLITS if not word.isascii()))

# The column of a file that says the split of each row.
SPLIT = "split"

NOT_A_RECORD = "not_a_record"


@dataclass(frozen=True)
class Source:
    """A file of the corpus or a sheet of one, and what recognising it found out.

    `name` is the file's, with a sheet's own behind it where a workbook has several. `split` is
    None if no part of the name says it. A table has `columns`, the names in its first line, and
    either a `delimiter` or a parsed `sheet`.
    """

    file: File
    name: str
    split: str | None
    edition: Edition
    container: str
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    sheet: workbook.Sheet | None = None


@dataclass(frozen=True)
class Raw:
    """The rows of one or more sources of one edition.

    `table` has part (the number of the source), line, row, persona, talk, split, the labels, and
    `turn_columns(turns)`. `faults` are rows or values that cannot be read: (reason, part, line).
    """

    table: pa.Table
    turns: int
    codec: str
    faults: list[tuple[str, int, int]]


def turn_columns(turns: int) -> list[str]:
    """user1, reply1, user2, ...: the columns of Raw's table for so many turns."""
    return [f"{role}{n}" for n in range(1, turns + 1) for role in ("user", "reply")]


def recognise(file: File) -> list[Source | Left]:
    """The sources that a file holds, by what is in it, or why it is none; [] for other files.

    Raises:
        SourceError: not whole, not the file itself, in no known codec, or with the corpus's
            columns but not all of them.
    """
    if file.suffix not in SUFFIXES:
        kind = not_read(file.name)
        if kind is None:
            return []
        what = f"{kind[0]}, and no {', '.join(CONTAINERS)} or .zip of them"
        return [Left.because(SourceError(file.name, what, kind[1]), file.name)]
    data = file.read(START)
    if found := stand_in(data):
        raise SourceError(file.name, *found)
    if data.startswith(ZIP):
        return _sheets(file)
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"[") and b'"talk"' in start and b'"profile"' in start:
        return [Source(file, file.name, split_of(file.name), JSON, "json")]
    container = CONTAINERS.get(file.suffix, "csv")
    if container == "json":
        return [Left(file.name, "not a list of the corpus's records")]
    container = "csv" if container == "xlsx" else container
    for line in tables.first_lines(data, file.name):
        for delimiter in DELIMITERS.get(container, ",\t"):
            names = tables.cells(line, delimiter)
            edition = _edition(names, file.name)
            if edition is not None:
                split = split_of(file.name)
                return [Source(file, file.name, split, edition, container, tuple(names), delimiter)]
    if file.suffix in (".xlsx", ".xls"):
        raise SourceError(file.name, "no workbook, but text", "save the workbook as xlsx again")
    return [Left(file.name, "its first line has not the corpus's columns")]


def _sheets(file: File) -> list[Source | Left]:
    """The sheets of a workbook that are the corpus, hidden ones too, and the others."""
    found: list[Source] = []
    left: list[Left] = []
    for sheet in workbook.read_sheets(file.read(), file.name):
        name = f"{file.name}/{sheet.name}"
        try:
            names = [tables.header_cell(tables.cell_text(cell)) for cell in sheet.header()]
            edition = _edition(names, name)
        except SourceError as error:
            left.append(Left.because(error, name))
            continue
        if edition is None:
            why = "its first row has not the corpus's columns" if names else "an empty sheet"
            left.append(Left(name, why))
        else:
            split = split_of(name)
            found.append(Source(file, name, split, edition, "xlsx", tuple(names), sheet=sheet))
    if len(found) == 1:
        # A file's name goes before that of its only sheet, which nobody may have chosen.
        split = split_of(file.name) or found[0].split
        found = [replace(found[0], name=file.name, split=split)]
    if not found and all(one.error is None for one in left):
        return [Left(file.name, "no sheet has the corpus's columns")]
    return [*found, *left]


def split_of(name: str) -> str | None:
    """`train` or `test`, from the last part of the path that says one, else None."""
    for part in reversed(name.split("/")):
        found = {SPLITS[word] for word in _split_words(part)}
        if len(found) == 1:
            return found.pop()
    return None


def is_validation(name: str) -> bool:
    """Whether a name says validation and not test, which `split_of` does not tell apart."""
    return _split_words(name) <= VALIDATION


def _split_words(name: str) -> set[str]:
    words = [word.lower() for word in _WORD.findall(name)]
    words += [_TAIL.sub("", word) for word in words]
    return SPLITS.keys() & {*words, *_HANGUL.findall(name)}


def read(sources: Sequence[Source]) -> Raw:
    """The rows of sources of one edition, in their own order and one after the other.

    Raises:
        SourceError: damaged, in no known codec, or larger than any file of the corpus.
    """
    raws = [_read(source) for source in sources]
    if len(raws) == 1:
        return raws[0]
    parts: list[pa.Table] = []
    faults: list[tuple[str, int, int]] = []
    before = 0
    for part, raw in enumerate(raws):
        rows = columns.numbers(raw.table["row"]) + before
        before = int(rows.max(initial=before))
        part_of = columns.integers(np.full(len(rows), part))
        named = raw.table.drop_columns(["part", "row"])
        parts.append(
            named.append_column("part", part_of).append_column("row", columns.integers(rows))
        )
        faults += [(reason, part, line) for reason, _, line in raw.faults]
    return Raw(pa.concat_tables(parts), raws[0].turns, raws[0].codec, faults)


def _read(source: Source) -> Raw:
    where = source.file.name
    if source.sheet is not None:
        return _by_columns(source, _sheet_rows(source.sheet, len(source.columns)), "")
    data = source.file.read()
    if source.container != "json":
        tables.refuse_endless(data, where)
    text, codec = tables.decode(data, where)
    del data
    if source.container == "json":
        return _read_json(text, codec, where)
    rows = tables.read_text(text, source.delimiter, len(source.columns), where)
    return _by_columns(source, rows, codec)


def _edition(names: list[str], where: str) -> Edition | None:
    """The edition with these columns, None if they are not the corpus's."""
    if f"{USER}1" not in names:
        return None
    edition = _edition_of(names)
    if edition is not None:
        missing = [label for label in LABELS.values() if names.count(label) != 1]
        if missing:
            raise SourceError(
                f"{where}, line 1",
                f"column {missing[0]} is missing or there twice",
                "the corpus has it once, so put it back or move the file out of SOURCE",
            )
        return edition
    raise SourceError(
        f"{where}, line 1",
        f"has {USER}1, but its turns are no known edition's ({_known_turns()}, each beside its "
        f"{USER})",
        "name the columns as AI Hub does",
    )


def _edition_of(names: list[str]) -> Edition | None:
    """The edition whose turns, and no others, are among these columns."""
    stems = {USER, *(edition.reply_stem for edition in EDITIONS if edition.turns)}
    turn = re.compile(rf"({'|'.join(stems)})\d+")
    found = sorted(name for name in names if turn.fullmatch(name))
    tabular = (edition for edition in EDITIONS if edition.turns)
    return next((one for one in tabular if found == sorted(one.turn_names)), None)


def _known_turns() -> str:
    """The reply columns of all editions, for people: `시스템문장1 to 3, or ...`."""
    turns: dict[str, list[str]] = {}
    for edition in sorted(EDITIONS, key=lambda edition: edition.turns):
        if edition.turns:
            turns.setdefault(edition.reply_stem, []).append(str(edition.turns))
    return ", or ".join(f"{stem}1 to {' or '.join(last)}" for stem, last in turns.items())


def _by_columns(source: Source, rows: tables.Rows, codec: str) -> Raw:
    """The rows of a table, its columns under our names."""
    edition = source.edition
    column = dict(zip(source.columns, rows.columns, strict=True))
    count = len(rows.lines)
    nothing = pa.nulls(count, pa.string())
    split = next((name for name in column if name.lower() == SPLIT), None)
    turns = zip(turn_columns(edition.turns), edition.turn_names, strict=True)
    data = {
        "part": columns.integers(np.zeros(count, np.int64)),
        "line": columns.integers(rows.lines),
        "row": columns.integers(np.arange(1, count + 1)),
        "persona": nothing,
        "talk": nothing,
        "split": nothing if split is None else column[split],
        **{ours: column[theirs] for ours, theirs in LABELS.items()},
        **{ours: column[theirs] for ours, theirs in turns},
    }
    table = pa.table(data)
    faults = [(reason, 0, line) for reason, line in rows.faults]
    headers = _headers(source, rows)
    if headers:
        keep = np.isin(np.arange(count), headers, invert=True)
        table = table.filter(columns.booleans(keep))
        faults += [(REPEATED_HEADER, 0, int(rows.lines[row])) for row in headers]
    return Raw(table, edition.turns, codec, faults)


def _headers(source: Source, rows: tables.Rows) -> list[int]:
    """The rows that are the header again, as files that were joined have it.

    Raises:
        SourceError: a header with other columns, below which nothing is where the first one says.
    """
    ours = {*LABELS.values(), *source.edition.turn_names}
    known = columns.texts(sorted(ours.union(source.columns) - {""}))
    met = np.zeros(len(rows.lines), bool)
    for name, cells in zip(source.columns, rows.columns, strict=True):
        if name in source.edition.turn_names[:2]:
            texts = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
            met |= columns.mask(pc.is_in(columns.trimmed(texts), value_set=known))
    found = []
    for row in np.flatnonzero(met).tolist():
        cells = [tables.header_cell(column[row].as_py()) for column in rows.columns]
        if all(
            cell == name for cell, name in zip(cells, source.columns, strict=True) if name in ours
        ):
            found.append(row)
        elif _edition_of(cells) is not None:
            raise SourceError(
                f"{source.file.name}, line {rows.lines[row]}",
                "another header, whose columns are not those of the first",
                "make two files of it there",
            )
    return found


def _sheet_rows(sheet: workbook.Sheet, width: int) -> tables.Rows:
    """The rows of a sheet below its first, up to the last one that holds any text."""
    _, *cells = sheet.rows()
    rows = [[tables.cell_text(cell) for cell in row] for row in cells]
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    return tables.Rows(tables.as_columns(rows, width), sheet.lines(len(rows) + 1)[1:])


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
    names = ["persona", "talk", SPLIT, *LABELS, *turn_columns(turns)]
    data = {
        "part": columns.integers(np.zeros(len(places), np.int64)),
        "line": columns.integers(np.array([line for line, _ in places], np.int64)),
        "row": columns.integers(np.array([row for _, row in places], np.int64)),
        **{name: columns.texts(one.get(name, "") for one in records) for name in names},
    }
    return Raw(pa.table(data), turns, codec, [(reason, 0, line) for reason, line in faults])


def _facts(record: dict[str, Any]) -> dict[str, str | None]:
    """The persona, talk id and labels of a record; known codes become names."""
    profile = record.get("profile")
    facts: dict[str, str | None] = {
        "persona": _id(_inside(profile, "persona-id")),
        "talk": _id(_inside(record, "talk", "id", "talk-id")),
        "split": _id(record.get(SPLIT)),
    }
    codes = [_inside(profile, "emotion", "type")]
    for place in (("persona", "human"), ("emotion", "situation")):
        listed = _inside(profile, *place)
        codes += listed if isinstance(listed, list) else [listed]
    kinds = {"A": "age", "G": "gender", "S": "situation", "D": "disease"}
    for code in codes:
        if not isinstance(code, str) or not tables.storable(code):
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
    """The column and text of each turn of a record; a value that is no text is a fault."""
    for key, value in content.items() if isinstance(content, dict) else ():
        text = tables.cell_text(value) if not isinstance(value, (dict, list)) else None
        turn = JSON_TURN.fullmatch(key)
        if turn is not None and text is not None and tables.storable(text):
            yield f"{'user' if turn[1] == 'HS' else 'reply'}{turn[2]}", text
        elif text is None or text.strip():
            faults.append((NOT_TEXT, line))


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _id(value: Any) -> str | None:
    usable = isinstance(value, str) and value.strip() and tables.storable(value)
    return value.strip() if usable else None
