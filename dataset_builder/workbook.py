"""The sheets of a workbook, unless reading it would take far more memory than it has bytes.

The reader (calamine) makes a dense table of a sheet, however far apart two cells are, and a copy
of a shared text for each cell that shows it; and when memory runs out it ends the process. So the
memory that it would need is counted first, in the very bytes that it then reads.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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
CELL, ITEM = re.compile(rb"<(?:\w+:)?c\b"), re.compile(rb"<(?:\w+:)?si\b")
VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*>\s*([0-9]{1,9})")


def read_sheets(data: bytes, where: str) -> Iterator[CalamineSheet]:
    """Each sheet of a workbook that holds any cells, parsed.

    Raises:
        SourceError: not a whole workbook, or one that would fill the memory.
    """
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise SourceError(where, "reading xlsx needs: pip install python-calamine") from None
    with _as_source_error(where):
        book = CalamineWorkbook.from_filelike(_unpacked(data, where))
        for name in book.sheet_names:
            sheet = book.get_sheet_by_name(name)
            if sheet.start is not None:
                yield sheet


def rows(sheet: CalamineSheet, where: str, most: int | None = None) -> list[list[Any]]:
    """The cells of a sheet, from its first row and column that hold any; `most` rows at most."""
    with _as_source_error(where):
        return sheet.to_python(skip_empty_area=True, nrows=most)


def first_line(sheet: CalamineSheet) -> int:
    """The number, from 1, of the row that comes first in `rows`."""
    row, _ = sheet.start or (0, 0)
    return row + 1


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


def _unpacked(data: bytes, where: str) -> io.BytesIO:
    """The workbook with its parts unpacked; raises SourceError if one asks for too much memory."""
    plain = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed, zipfile.ZipFile(plain, "w") as out:
            refuse_bomb(packed, len(data), where)
            if sum(info.file_size for info in packed.infolist()) > MAX_FILE_BYTES:
                raise SourceError(where, f"more than {MAX_FILE_BYTES >> 20} MiB of XML", _NO_CORPUS)
            parts = {n: packed.read(n) for n in packed.namelist() if PARTS.fullmatch(n)}
            texts = [part for name, part in parts.items() if name.lower().endswith(SHARED)]
            lengths = _lengths(texts[0]) if texts else np.zeros(0, np.int64)
            for name, part in parts.items():
                if SHEETS in name.lower():
                    _refuse_large(part, lengths, f"{where}, {name}")
                out.writestr(name, part)
    except DAMAGE as error:
        raise SourceError(
            where, f"not a whole workbook ({error})", "download it again, or save it as csv"
        ) from None
    plain.seek(0)
    return plain


_NO_CORPUS = "no corpus needs that; move it out of SOURCE, or save its rows as csv"


def _lengths(shared: bytes) -> np.ndarray:
    """The length of each shared text in bytes, markup included."""
    starts = [found.start() for found in ITEM.finditer(shared)]
    return np.diff([*starts, len(shared)])


def _refuse_large(sheet: bytes, lengths: np.ndarray, where: str) -> None:
    """Raise SourceError if the sheet's table or its texts would fill the memory."""
    columns = max(map(_column, {found[1] for found in PLACE.finditer(sheet)}), default=1)
    cells = sum(1 for _ in CELL.finditer(sheet))
    rows = max((int(found[1]) for found in ROW.finditer(sheet)), default=1)
    if max(cells, rows * columns) > MAX_CELLS:
        raise SourceError(where, f"{rows:,} rows of {columns:,} columns", _NO_CORPUS)
    if len(lengths):
        shown = np.array([int(found[1]) for found in VALUE.finditer(sheet)], np.int64)
        total = int(lengths[shown[shown < len(lengths)]].sum())
        if total > MAX_FILE_BYTES:
            raise SourceError(where, f"shows {total >> 20:,} MiB of text", _NO_CORPUS)


def _column(name: bytes) -> int:
    """The number of a column: A is 1, AA is 27."""
    number = 0
    for letter in name.upper():
        number = 26 * number + letter - ord("A") + 1
    return number
