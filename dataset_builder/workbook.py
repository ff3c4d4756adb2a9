"""The cells of a workbook, unless opening it would take far more memory than it has bytes.

The reader (calamine) makes a dense table of a sheet, however far apart two cells are, and a copy
of a shared text for each cell that shows it; and when memory runs out it ends the process. So what
it would need is counted first, and it is handed what was counted.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from .limits import MAX_CELLS, MAX_FILE_BYTES
from .sources import DAMAGE, SourceError, refuse_bomb

PARTS = re.compile(r"/?(_rels/|xl/|\[Content_Types\]).*(xml|rels)", re.IGNORECASE)
SHARED, SHEETS = "sharedstrings.xml", "/worksheets/"
PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{1,3})[0-9]""")
ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\br\s*=\s*["']([0-9]{1,7})["']""")
CELL, ITEM = re.compile(rb"<(?:\w+:)?c\b"), re.compile(rb"<(?:\w+:)?si\b")
VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*>\s*([0-9]{1,9})")


def read_sheets(data: bytes, where: str) -> Iterator[tuple[str, int, list[list[Any]]]]:
    """Name, number of the first row, and cells of each sheet of a workbook that holds any.

    Raises:
        SourceError: not a whole workbook, or one that would fill the memory.
    """
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise SourceError(where, "reading xlsx needs: pip install python-calamine") from None
    try:
        book = CalamineWorkbook.from_filelike(_counted(data, where))
        for name in book.sheet_names:
            sheet = book.get_sheet_by_name(name)
            cells = sheet.to_python(skip_empty_area=True)
            if cells and sheet.start is not None:
                yield name, sheet.start[0] + 1, cells
    except SourceError:
        raise
    except Exception as error:  # calamine's errors share no base class but this one
        raise SourceError(
            where, f"not a whole workbook ({error})", "download it again, or save it as csv"
        ) from None


def _counted(data: bytes, where: str) -> io.BytesIO:
    """The workbook's parts, unpacked, none of which asks for more memory than there should be."""
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
    """About how many bytes each of the shared texts has."""
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
