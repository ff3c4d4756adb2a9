"""Delimited text, workbooks and JSON lists as columns of text, each row with its line.

This module does not know what a column means. All text comes out composed (NFC), else as written.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from . import columns
from .limits import MAX_ROW_LENGTH, MAX_ROWS
from .sources import SourceError

HANGUL, NOT_ASCII = re.compile("[가-힣]"), re.compile(r"[^\x00-\x7f]")
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
SAMPLE = 10_000
FIRST_LINE = re.compile(rb"[^\r\n]*")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Larger blocks go back to the system after use, and are allocated again at some cost.
BLOCK_BYTES = 1 << 22
TOO_MANY_CELLS = "too_many_cells"
# The longest token, in characters, that the cut at the end of a window can halve: \ud83d\ude00.
ESCAPE = 12
LINE = re.compile(r"[^\r\n]*(?:\r\n|[\r\n])|[^\r\n]+")


@dataclass(frozen=True)
class Rows:
    """Columns in the header's order; `lines[i]` is where row i starts in its file, from 1.

    `faults` are rows that cannot be read: (reason, line).
    """

    columns: list[pa.Array] | list[pa.ChunkedArray]
    lines: np.ndarray
    faults: list[tuple[str, int]] = field(default_factory=list)


def decode(data: bytes, where: str) -> tuple[str, str]:
    """The text, composed, and its codec; raises SourceError naming the line and byte at fault."""
    if data.startswith(UTF16_MARKS):
        raise SourceError(f"{where}, line 1, byte 0", "UTF-16", "save it as UTF-8 and build again")
    try:
        text, codec = data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        text, codec = _decode_cp949(data, error, where), "cp949"
    if "\0" in text:
        at = data.index(b"\0")
        line = data.count(b"\n", 0, at) + 1
        raise SourceError(
            f"{where}, line {line}, byte {at}",
            "a NUL, which is no text",
            "download the file again, or save it as UTF-8",
        )
    return nfc(text), codec


def refuse_endless(data: bytes, where: str) -> None:
    """Raise SourceError if delimited text has a line, or a number of lines, that no corpus has."""
    lines = max(data.count(b"\n"), data.count(b"\r"))
    if lines > MAX_ROWS:
        raise SourceError(where, f"{lines:,} lines", _endless("line"))
    start = 0
    while start + MAX_ROW_LENGTH < len(data):
        end = start + MAX_ROW_LENGTH
        line_end = max(data.rfind(b"\n", start, end), data.rfind(b"\r", start, end))
        if line_end < 0:
            line = data.count(b"\n", 0, start) + 1
            raise SourceError(f"{where}, line {line}", "too long", _endless("line"))
        start = line_end + 1


def nfc(text: str) -> str:
    """The text, composed."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def first_lines(data: bytes, where: str) -> list[str]:
    """The first line, decoded by each codec that can; raises SourceError if none can."""
    if data.startswith(UTF16_MARKS):
        decode(data, where)
    line = FIRST_LINE.match(data)[0]  # type: ignore[index]
    found = []
    for codec in ("utf-8-sig", "cp949"):
        with contextlib.suppress(UnicodeDecodeError):
            found.append(nfc(line.decode(codec)))
    return found or [decode(line, where)[0]]


def cells(line: str, delimiter: str) -> list[str]:
    """The cells of a header line; [] if its quotes are malformed."""
    try:
        return [header_cell(cell) for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def header_cell(text: str) -> str:
    """The name of a column, without spaces and characters that show nothing."""
    return "".join(
        c for c in text if unicodedata.category(c)[0] not in "CZ" and c not in columns.INVISIBLE
    )


def read_text(text: str, delimiter: str, width: int, where: str) -> Rows:
    """The rows below the first line of delimited text.

    Raises:
        SourceError: a stray quote that would make one cell of several rows.
    """
    data = text.encode()
    if _plain(data, delimiter):
        plain = _read_plain(data, delimiter, width)
        if plain is not None:
            return Rows(plain, np.arange(2, len(plain[0]) + 2))
    return _read_quoted(text, delimiter, width, where)


def cell_text(value: Any) -> str:
    """A value of a workbook or of JSON as text: 3.0 as `3`, None as the empty text."""
    if isinstance(value, str):
        return nfc(value)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return nfc(str(value))


def json_records(text: str, where: str) -> Iterator[tuple[int, Any]]:
    """Line and value of each item of a JSON list, one at a time."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        raise _not_json(text, position, where, "expected a list of records")
    line, counted, row = 1, 0, 0
    position = _skip(text, position + 1)
    window, begin = "", 0
    separator = ""
    while text[position : position + 1] != "]":
        if separator:
            if text[position : position + 1] != separator:
                raise _not_json(text, position, where, "expected a comma or the list's end")
            position = _skip(text, position + 1)
        # A record is decoded from a window of the text, which limits its length.
        if not window or position - begin > MAX_ROW_LENGTH // 2:
            window, begin = text[position : position + MAX_ROW_LENGTH], position
        try:
            value, end = decoder.raw_decode(window, position - begin)
        except json.JSONDecodeError as error:
            cut = begin + len(window) < len(text)
            if cut and (error.pos > len(window) - ESCAPE or error.msg.startswith("Unterminated")):
                raise _not_json(text, position, where, _endless("record")) from None
            raise _not_json(text, begin + error.pos, where, error.msg) from None
        except (ValueError, RecursionError) as error:
            raise _not_json(text, position, where, str(error)) from None
        line += text.count("\n", counted, position)
        counted, row = position, row + 1
        if row > MAX_ROWS:
            raise _not_json(text, position, where, _endless("record"))
        yield line, value
        end += begin
        position, separator = _skip(text, end), ","
    rest = _skip(text, position + 1)
    if rest != len(text):
        raise _not_json(text, rest, where, "something follows the list")


def storable(text: str) -> bool:
    """Whether the text has no NUL and no half of a surrogate pair, which JSON can escape."""
    return UNSTORABLE.search(text) is None


def _decode_cp949(data: bytes, utf8: UnicodeDecodeError, where: str) -> str:
    """The text if it is cp949, and not UTF-8 with a damaged byte; else raises SourceError."""
    at, codec = utf8.start, "UTF-8"
    try:
        text = data.decode("cp949")
        if 2 * len(HANGUL.findall(text[:SAMPLE])) >= len(NOT_ASCII.findall(text[:SAMPLE])):
            return text
    except UnicodeDecodeError as error:
        if error.start > at:
            at, codec = error.start, "cp949"
    line = data.count(b"\n", 0, at) + 1
    raise SourceError(
        f"{where}, line {line}, byte {at}",
        f"neither UTF-8 nor cp949 ({codec} up to there)",
        "fix that byte or save the file as UTF-8",
    )


def _plain(data: bytes, delimiter: str) -> bool:
    """Whether every quoted cell opens, closes and ends within one line.

    With an even number of quotes in each line, every second one closes: what precedes an opening
    quote and follows a closing one must then be a cell's edge (or the other half of `""`).
    """
    codes = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(codes == ord('"'))
    if not len(quotes):
        return True
    newlines = np.flatnonzero(codes == ord("\n"))
    if np.any(np.bincount(np.searchsorted(newlines, quotes)) % 2):
        return False
    opening, closing = quotes[0::2], quotes[1::2]
    before, after = codes[opening - 1], codes[np.minimum(closing + 1, len(codes) - 1)]
    edges = [ord(c) for c in (delimiter, "\n", "\r", '"')]
    starts = np.isin(before, edges) | (opening == 0)
    ends = np.isin(after, edges) | (closing == len(codes) - 1)
    return bool(starts.all() and ends.all())


def _read_plain(data: bytes, delimiter: str, width: int) -> list[pa.ChunkedArray] | None:
    """The columns if each line is one row of `width` cells, else None."""
    lines = data.count(b"\n") + (not data.endswith(b"\n")) - 1
    names = [str(i) for i in range(width)]
    if not lines or data.count(b"\r") != data.count(b"\r\n"):
        return None
    try:
        table = pa.csv.read_csv(
            pa.py_buffer(data),
            pa.csv.ReadOptions(column_names=names, skip_rows=1, block_size=BLOCK_BYTES),
            pa.csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
            pa.csv.ConvertOptions(
                check_utf8=False,
                strings_can_be_null=False,
                column_types={name: pa.string() for name in names},
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table.columns if len(table) == lines else None


def _read_quoted(text: str, delimiter: str, width: int, where: str) -> Rows:
    """The rows, read one by one: cells may have several lines, and rows other widths."""
    # No StringIO: it takes four bytes a character.
    lines_of_text = (line[0] for line in LINE.finditer(text))
    reader = csv.reader(lines_of_text, delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    faults: list[tuple[str, int]] = []
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if line == 1 or not cells:
                continue
            if reader.line_num > line and _swallowed(cells, delimiter, width):
                raise csv.Error("a quote here swallows the rows below it")
            # Even with blank cells too many: a comma without quotes has shifted the others.
            if len(cells) > width:
                faults.append((TOO_MANY_CELLS, line))
                continue
            rows.append(cells + [""] * (width - len(cells)))
            lines.append(line)
    except csv.Error as error:
        # While a row is being read, `start` is still its first line.
        at = start if reader.line_num >= start else line
        raise SourceError(
            f"{where}, line {at}",
            f"{error}",
            "close the quote, or double it if it is part of the text",
        ) from None
    return Rows(as_columns(rows, width), np.array(lines, np.int64), faults)


def as_columns(rows: Iterable[list[str]], width: int) -> list[pa.Array]:
    """Columns from rows of `width` cells."""
    rows = list(rows)
    return [columns.texts(row[i] for row in rows) for i in range(width)]


def _swallowed(cells: list[str], delimiter: str, width: int) -> bool:
    """Whether a row of several lines is in fact several rows after a stray quote."""
    return len(cells) != width or any(cell.count(delimiter) >= width - 1 for cell in cells)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _endless(what: str) -> str:
    """The refusal of a file with more rows than any corpus, or with a longer one."""
    return (
        f"a {what} of the corpus has a few hundred characters and a file at most {MAX_ROWS:,} "
        "of them, so this is no corpus; move it out of SOURCE"
    )


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _not_json(text: str, position: int, where: str, what: str) -> SourceError:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return SourceError(
        f"{where}, line {line}, column {column}",
        f"not the JSON list it should be ({what})",
        "download it again",
    )
