"""Files made to fill the memory or the time: each is refused in one line, or read as it says.

The real command reads them, one process each, and the kernel says how much memory it took.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dataset_builder.corpora import TEST, TRAIN, archive, header, records, rows, text, xlsx

MIB = 1 << 20
# Twice what the largest edition takes. A failed test must not take the machine with it.
MOST_MEMORY, CEILING = 700 * MIB, 6 << 30
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
CSV, JSON = text(rows("2022", TRAIN + TEST)), records(TRAIN + TEST)
HEADER = text([header("2022")])


# Runs a command; its exit status, and after what it said the bytes it took at most. Started from
# here it would be charged with what this process had at that moment.
MEASURE = f"""
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_AS, ({CEILING}, {CEILING}))
status = subprocess.call(sys.argv[1:])
unit = 1 if sys.platform == "darwin" else 1024
print(unit * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True)
class End:
    """How a build of one file ended: exit status, the lines said, peak memory in bytes."""

    status: int
    said: list[str]
    peak: int


def deflated(start: bytes, zeros_mib: int) -> bytes:
    """`start` and then so many MiB of zeros, as deflate writes them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * zeros_mib + packer.flush()


def raw_zip(members: list[tuple[str, bytes, int, int]], *, overlapping: bool = False) -> bytes:
    """A zip from (name, deflated bytes, CRC, claimed size); all share one content if asked."""
    body, directory = b"", b""
    for number, (name, packed, crc, size) in enumerate(members):
        fields = struct.pack("<HHHHHIII", 20, 0x800, 8, 0, 0, crc, len(packed), size)
        encoded = name.encode()
        offset = len(body)
        if overlapping and number:
            offset = 0
        else:
            body += b"PK\3\4" + fields + struct.pack("<HH", len(encoded), 0) + encoded + packed
        directory += b"PK\1\2" + struct.pack("<H", 20) + fields
        directory += struct.pack("<HHHHHII", len(encoded), 0, 0, 0, 0, 0, offset) + encoded
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + end


def book(sheet: str, shared: str = "", doctype: str = "") -> bytes:
    """A workbook with this XML inside its sheet, and these shared texts."""
    with zipfile.ZipFile(io.BytesIO(xlsx([]))) as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    parts["xl/worksheets/sheet1.xml"] = (
        f'{doctype}<worksheet xmlns="{MAIN}">{sheet}</worksheet>'.encode()
    )
    if shared:
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{MAIN}">{shared}</sst>'.encode()
        kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
        relation = f'<Relationship Id="s" Target="sharedStrings.xml" Type="{kind}"/>'
        rels = "xl/_rels/workbook.xml.rels"
        parts[rels] = parts[rels].replace(b"</R", relation.encode() + b"</R")
    return archive(parts)


def cells(places: list[str], kind: str = "", value: str = "<v>1</v>") -> str:
    """Cells at these places, each in a row of its own."""
    rows = []
    for place in places:
        row = place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        rows.append(f'<row r="{row}"><c r="{place}"{kind}>{value}</c></row>')
    return f"<sheetData>{''.join(rows)}</sheetData>"


def with_header(sheet: str) -> str:
    """The corpus's header as the first row of a sheet, before its other rows."""
    names = "".join(
        f'<c r="{chr(65 + i)}1" t="inlineStr"><is><t>{name}</t></is></c>'
        for i, name in enumerate(header("2022"))
    )
    return sheet.replace("<sheetData>", f'<sheetData><row r="1">{names}</row>')


def nested(levels: int) -> bytes:
    """A zip bomb in a zip in a zip ..."""
    data = raw_zip([("Training.csv", deflated(HEADER, 128), 1, 128 * MIB)])
    for level in range(levels):
        data = archive({f"{level}.zip": data})
    return data


def sparse(path: Path, start: bytes, size: int) -> None:
    """A file that claims to be large and takes no room."""
    path.write_bytes(start)
    os.truncate(path, size)


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    doctype = f'<!DOCTYPE w [<!ENTITY l0 "ha">{entities}]>'
    cell = '<row r="2"><c r="A2" t="inlineStr"><is><t>&l9;</t></is></c></row>'
    return book(with_header(f"<sheetData>{cell}</sheetData>"), doctype=doctype)


def one(name: str, data: Callable[[], bytes]) -> Callable[[Path], Path]:
    """Writes one file and gives its path."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data())
        return path

    return write


def huge(name: str, start: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        sparse(folder / name, start, 40 << 30)
        return folder / name

    return write


def record(**content: object) -> str:
    """One record of the JSON edition with this inside its talk."""
    talk = {"id": {"profile-id": "P", "talk-id": "T"}, "content": content}
    return json.dumps({"profile": {"persona-id": "P"}, "talk": talk}, ensure_ascii=False)


MEBIBYTE = deflated(HEADER, 1)
FIRST = record(HS01="안녕", SS01="네")

BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    # Archives
    "far too much in a zip": (
        one("a.zip", lambda: raw_zip([("Training.csv", deflated(HEADER, 3000), 1, 3000 * MIB)])),
        "times its size",
    ),
    "a zip that hides how much is in it": (
        one("a.zip", lambda: raw_zip([("Training.csv", deflated(CSV, 3000), 1, len(CSV) + 99)])),
        "Training.csv: damaged in its archive",
    ),
    "a zip in a zip in a zip": (one("a.zip", lambda: nested(2)), "times its size"),
    "a zip in eight zips": (one("a.zip", lambda: nested(8)), "nothing here is"),
    "a thousand members that are one": (
        one(
            "a.zip",
            lambda: raw_zip(
                [(f"{i}/Training.csv", MEBIBYTE, 1, MIB) for i in range(1000)],
                overlapping=True,
            ),
        ),
        "times its size",
    ),
    "a large zip inside a zip": (
        one("a.zip", lambda: raw_zip([("b.zip", deflated(b"", 9), 1, 3000 * MIB)])),
        "times its size",
    ),
    # Workbooks
    "gigabytes of shared texts": (
        one(
            "Training.xlsx",
            lambda: raw_zip([("xl/sharedStrings.xml", deflated(b"<sst>", 3000), 1, 3000 * MIB)]),
        ),
        "times its size",
    ),
    "one long text in every cell": (
        one(
            "Training.xlsx",
            lambda: book(
                with_header(cells([f"A{n}" for n in range(2, 3000)], ' t="s"', "<v>0</v>")),
                shared=f"<si><t>{'a' * MIB}</t></si>",
            ),
        ),
        "of text; no corpus needs that",
    ),
    "two cells far apart": (
        one("Training.xlsx", lambda: book(with_header(cells(["A2", "XFD1048576"])))),
        "1,048,576 rows of 16,384 columns",
    ),
    "a dimension of billions": (
        one(
            "Training.xlsx",
            lambda: book('<dimension ref="A1:XFD1048576"/>' + with_header(cells(["A2"]))),
        ),
        "no training dialogue is left",
    ),
    "entities in entities": (one("Training.xlsx", laughs), "not a whole workbook"),
    # JSON
    "a hundred thousand lists in lists": (
        one("train.json", lambda: f"[{FIRST},{'[' * 100_000}".encode()),
        "line 1",
    ),
    "a hundred thousand objects in objects": (
        one("train.json", lambda: f"[{FIRST},".encode() + b'{"a":' * 100_000),
        "line 1",
    ),
    "a number of a million digits": (
        one("train.json", lambda: FIRST.replace('"네"', "9" * 300_000).join("[]").encode()),
        "line 1",
    ),
    "the same key twice": (
        one("train.json", lambda: f"[{FIRST[:-1]}, {FIRST[1:]}]".encode()),
        "a key stands twice in one object",
    ),
    "millions of records": (
        one("train.json", lambda: f"[{FIRST}{',0' * 5_000_000}]".encode()),
        "is no corpus",
    ),
    "a record of millions of lists": (
        one("train.json", lambda: f"[{FIRST},[{'[],' * 20_000_000}0]]".encode()),
        "is no corpus",
    ),
    "a turn of 100 MB": (
        one("train.json", lambda: FIRST.replace("안녕", "a" * 100 * MIB).join("[]").encode()),
        "is no corpus",
    ),
    "half a character, escaped": (
        one("train.json", lambda: FIRST.replace("안녕", r"\ud800").join("[]").encode()),
        "no training dialogue is left",
    ),
    "a NUL, escaped": (
        one("train.json", lambda: FIRST.replace("안녕", r"\u0000").join("[]").encode()),
        "no training dialogue is left",
    ),
    # Delimited text
    "a cell of 100 MB": (
        one("train.csv", lambda: CSV + b"1," + b"a" * 100 * MIB),
        "train.csv, line 6: too long",
    ),
    "a quoted cell of 100 MB in many lines": (
        one("train.csv", lambda: CSV + b'1,"' + (b"a" * 999 + b"\n") * 105_000 + b'"'),
        "train.csv, line 6: field larger than field limit",
    ),
    "a quote that never closes": (
        one("train.csv", lambda: CSV + b'1,"' + b"a,b,c\n" * 400_000),
        "train.csv, line 6: ",
    ),
    "nothing but quotes": (
        one("train.csv", lambda: CSV + b'""' * 500_000 + b"\n" + b'"' * 999_999 + b"\n"),
        "train.csv, line 6: ",
    ),
    "millions of lines": (one("train.csv", lambda: CSV + b"\n" * 50_000_000), "is no corpus"),
    "a NUL": (one("train.csv", lambda: CSV + b"1,\0\r\n"), "train.csv, line 6, byte 810: a NUL"),
    "40 GiB of NULs in csv": (huge("train.csv", CSV), "more than any file of the corpus"),
    "40 GiB of NULs in json": (huge("train.json", JSON), "more than any file of the corpus"),
    "40 GiB of NULs in xlsx": (huge("train.xlsx", xlsx([])), "more than any file of the corpus"),
    "40 GiB of NULs in a zip": (huge("train.zip", archive({})), "not a whole zip archive"),
}


def build(source: Path, out: Path) -> End:
    """How `kosent-data build` ends."""
    command = [str(Path(sys.executable).with_name("kosent-data")), "build", str(source), str(out)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], stdout=-1, stderr=-1)
    *said, peak = done.stderr.decode().splitlines()
    return End(done.returncode, said, int(peak))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line(name: str, tmp_path: Path):
    end = build(BOMBS[name][0](tmp_path), tmp_path / "out")
    assert end.status == 2, end.said
    last = end.said[-1]
    assert last.startswith("kosent-data: "), end.said
    assert BOMBS[name][1] in last
    assert not any("Traceback" in line for line in end.said)
    assert len(last) < 1000
    assert end.peak < MOST_MEMORY, f"{end.peak >> 20} MiB"


def test_names_that_are_not_utf8(tmp_path: Path):
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Training-\xff.csv"))
    source.write_bytes(CSV)
    assert build(source, tmp_path / "out").status == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["read"][0]["file"] == r"Training-\xff.csv"
    end = build(source, Path(os.fsdecode(os.fsencode(tmp_path) + b"/out-\xfe")))
    assert end.status == 2
    assert end.said[-1].endswith("a name that is not UTF-8; rename that file or folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Training-\udcff.csv", "out"]
