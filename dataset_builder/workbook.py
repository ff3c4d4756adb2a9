"""The sheets of a workbook, unless reading it would take far more memory than it has bytes.

The reader (calamine) makes a dense table of a sheet, however far apart two cells are, and a copy
of a shared text for each cell that shows it; and when memory runs out it ends the process. So the
memory that it would need is counted first, in the very bytes that it then reads.
"""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .limits import MAX_CELLS, MAX_FILE_BYTES
from .sources import DAMAGE, SourceError, refuse_bomb

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

PARTS = re.compile(r"/?(_rels/|xl/|\[Content_Types\]).*(xml|rels)", re.IGNORECASE)
SHARED, SHEETS = "sharedstrings.xml", "/worksheets/"
PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{1,3})[0-9]""")
ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\br\s*=\s*["']([0-9]{1,7})["']""")
EMPTY_ROW = re.compile(rb"<(?:\w+:)?row\b[^>]*/>")
BOOK, LINKS, CONTENTS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "[content_types].xml"
SHEET, LINK = (
    re.compile(rb"<(?:\w+:)?sheet\b[^>]*>"),
    re.compile(rb"<(?:\w+:)?Relationship\b[^>]*>"),
)
ATTRIBUTE = re.compile(rb"""([\w:]+)\s*=\s*["']([^"']*)["']""")
# More than the corpus has by far.
MOST_COLUMNS = 256
CELL, ITEM = re.compile(rb"<(?:\w+:)?c\b"), re.compile(rb"<(?:\w+:)?si\b")
VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*>\s*([0-9]{1,9})")


@dataclass(frozen=True)
class Sheet:
    """A sheet of a workbook. `table` is None if it is empty, or a chart.

    `numbers[i]` is the number in the workbook of the i-th row that was given to the reader, if
    that is not i + 1.
    """

    name: str
    table: CalamineSheet | None
    where: str
    numbers: np.ndarray | None = None

    def rows(self, most: int | None = None) -> list[list[Any]]:
        """The cells from the first row and column that hold any; `most` rows at most."""
        if self.table is None:
            return []
        with _as_source_error(self.where):
            return self.table.to_python(skip_empty_area=True, nrows=most)

    def header(self) -> list[Any]:
        """The cells of the first row, [] if there is none."""
        return next(iter(self.rows(1)), [])

    def lines(self, count: int) -> np.ndarray:
        """The numbers, from 1, of the first `count` rows of `rows`."""
        first, _ = (self.table and self.table.start) or (0, 0)
        places = np.arange(first, first + count)
        return places + 1 if self.numbers is None else self.numbers[places]


def read_sheets(data: bytes, where: str) -> Iterator[Sheet]:
    """Each sheet of a workbook, hidden ones too, parsed.

    Raises:
        SourceError: not a whole workbook, or one that would fill the memory.
    """
    try:
        from python_calamine import CalamineWorkbook, SheetTypeEnum
    except ImportError:
        raise SourceError(where, "reading xlsx needs: pip install python-calamine") from None
    with _as_source_error(where):
        parts = _unpacked(data, where)
        numbers = {name: _pack(parts, name) for name in parts if SHEETS in name.lower()}
        book = CalamineWorkbook.from_filelike(_zipped(parts))
        for place, sheet in enumerate(book.sheets_metadata):
            name = unicodedata.normalize("NFC", sheet.name)
            table = None
            if sheet.typ == SheetTypeEnum.WorkSheet:
                table = book.get_sheet_by_index(place)
            if table is None or table.start is None:
                yield Sheet(name, None, where)
            else:
                yield Sheet(name, table, where, numbers.get(_part(parts, place)))


@contextmanager
def _as_source_error(where: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # calamine's errors share no base class but this one
        raise SourceError(
            where, f"not a whole workbook ({error})", "download it again, or save it as csv"
        ) from None


def _unpacked(data: bytes, where: str) -> dict[str, bytes]:
    """The parts of a workbook; raises SourceError if one asks for too much memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            refuse_bomb(packed, len(data), where)
            if CONTENTS not in map(str.lower, packed.namelist()):
                raise SourceError(
                    where, "a zip archive, and no workbook", "let its name end in .zip"
                )
            if sum(info.file_size for info in packed.infolist()) > MAX_FILE_BYTES:
                raise SourceError(where, f"more than {MAX_FILE_BYTES >> 20} MiB of XML", _NO_CORPUS)
            parts = {n: packed.read(n) for n in packed.namelist() if PARTS.fullmatch(n)}
    except DAMAGE as error:
        raise SourceError(
            where, f"not a whole workbook ({error})", "download it again, or save it as csv"
        ) from None
    texts = [part for name, part in parts.items() if name.lower().endswith(SHARED)]
    lengths = _lengths(texts[0]) if texts else np.zeros(0, np.int64)
    for name, part in parts.items():
        if SHEETS in name.lower():
            _refuse_large(part, lengths, f"{where}, {name}")
    return parts


def _zipped(parts: dict[str, bytes]) -> io.BytesIO:
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as out:
        for name, part in parts.items():
            out.writestr(name, part)
    plain.seek(0)
    return plain


def _pack(parts: dict[str, bytes], name: str) -> np.ndarray | None:
    """Move the rows of a sheet together if they are far apart; the numbers that they had.

    One cell that somebody touched in the last row of all gives the reader's table a million rows.
    """
    sheet = parts[name]
    numbers = _row_numbers(sheet)
    if not _is_sparse(sheet, numbers):
        return None
    found = list(ROW.finditer(sheet))
    ends = [*(row.start() for row in found[1:]), len(sheet)]
    packed = [sheet[: found[0].start()]]
    for number, (row, end) in enumerate(zip(found, ends, strict=True), start=1):
        cells = sheet[row.start() : end]
        if int(row[1]) != number:
            place = rb"""(\br\s*=\s*["'][A-Za-z]{0,3})0*%d(?=["'])""" % int(row[1])
            cells = re.sub(place, rb"\g<1>%d" % number, cells)
        packed.append(cells)
    parts[name] = b"".join(packed)
    return numbers


def _row_numbers(sheet: bytes) -> np.ndarray:
    return np.fromiter((int(row[1]) for row in ROW.finditer(sheet)), np.int64)


def _is_sparse(sheet: bytes, numbers: np.ndarray) -> bool:
    """Whether a sheet's rows are few and far apart, and its columns not."""
    if not len(numbers) or numbers[-1] < 2 * len(numbers) + 1000 or _columns(sheet) > MOST_COLUMNS:
        return False
    return bool(np.all(np.diff(numbers) > 0)) and len(numbers) == sheet.count(b"</row>") + len(
        EMPTY_ROW.findall(sheet)
    )


def _part(parts: dict[str, bytes], place: int) -> str:
    """The name of the part of the sheet at this place, "" if it cannot be told."""
    sheets = [dict(ATTRIBUTE.findall(tag)) for tag in SHEET.findall(parts.get(BOOK, b""))]
    links = [dict(ATTRIBUTE.findall(tag)) for tag in LINK.findall(parts.get(LINKS, b""))]
    targets = {link.get(b"Id"): link.get(b"Target", b"").decode() for link in links}
    ids = [value for name, value in sheets[place].items() if name.endswith(b":id")]
    target = targets.get(ids[0], "") if ids else ""
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


_NO_CORPUS = "no corpus needs that; move it out of SOURCE, or save its rows as csv"


def _lengths(shared: bytes) -> np.ndarray:
    """The length of each shared text in bytes, markup included."""
    starts = [found.start() for found in ITEM.finditer(shared)]
    return np.diff([*starts, len(shared)])


def _refuse_large(sheet: bytes, lengths: np.ndarray, where: str) -> None:
    """Raise SourceError if the sheet's table or its texts would fill the memory."""
    columns = _columns(sheet)
    cells = sum(1 for _ in CELL.finditer(sheet))
    numbers = _row_numbers(sheet)
    rows = len(numbers) if _is_sparse(sheet, numbers) else int(numbers.max(initial=1))
    if max(cells, rows * columns) > MAX_CELLS:
        raise SourceError(where, f"{rows:,} rows of {columns:,} columns", _NO_CORPUS)
    if len(lengths):
        shown = np.array([int(found[1]) for found in VALUE.finditer(sheet)], np.int64)
        total = int(lengths[shown[shown < len(lengths)]].sum())
        if total > MAX_FILE_BYTES:
            raise SourceError(where, f"shows {total >> 20:,} MiB of text", _NO_CORPUS)


def _columns(sheet: bytes) -> int:
    """The number of the last column that holds a cell."""
    return max(map(_column, {found[1] for found in PLACE.finditer(sheet)}), default=1)


def _column(name: bytes) -> int:
    """The number of a column: A is 1, AA is 27."""
    number = 0
    for letter in name.upper():
        number = 26 * number + letter - ord("A") + 1
    return number
