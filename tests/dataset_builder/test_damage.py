"""No input, however damaged, gives a traceback or loses a turn uncounted."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_builder import tables
from dataset_builder.cli import main
from tests.dataset_builder.accounts import check_accounts
from tests.dataset_builder.corpora import TEST, TRAIN, archive, header, records, rows, text, xlsx

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TURN_NAMES = header("2022")[-6:]
# Cells that are told apart from nothing in the same way by str.strip and by the builder. No NUL:
# a file with one is refused.
PIECES = st.sampled_from(
    [
        *(
            "가",
            "나 다",
            "nan",
            "None",
            "NA",
            "\\N",
            "",
            " ",
            "\u3000",
            '"',
            '""',
            ",",
            "\n",
            "\r\n",
            "\t",
            "A",
        ),
        *(
            "e\u0301",
            "\u1100\u1161",
            "👍🏽",
            "ﷺ",
            "None이",
            "\u200b",
            "1e5",
            "\\",
            "'",
            ";",
        ),
    ]
)
CELLS = st.lists(PIECES, max_size=4).map("".join)
ROWS = st.lists(st.lists(CELLS, min_size=13, max_size=13), min_size=1, max_size=8)


def build(name: str, data: bytes) -> tuple[int, str, dict[str, Any] | None, int]:
    """Exit status, what was said, the report, and the number of turns in the Parquet files."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / name, Path(folder) / "out"
        source.write_bytes(data)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = main(["build", str(source), str(out), "--validation-fraction", "0.3"])
        if status != 0:
            assert not out.exists()
            return status, said.getvalue(), None, 0
        report = json.loads((out / "report.json").read_text("utf-8"))
        kept = 0
        for path in (out / "data").iterdir():
            for row in pq.read_table(path).to_pylist():
                speakers = [message["role"] for message in row["messages"]]
                assert speakers == ["system", *["user", "assistant"] * row["turns"]]
                assert all(message["content"].strip() for message in row["messages"])
                kept += 2 * row["turns"]
        return status, said.getvalue(), report, kept


def is_turn(cell: str) -> bool:
    return cell.strip(" \t\r\n\u3000\u200b").lower() not in ("", "nan", "none", "na", "\\n", '""')


@pytest.mark.slow
@EXAMPLES
@given(ROWS, st.sampled_from([",", "\t"]), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_every_turn_of_a_well_formed_table_is_accounted_for(table, delimiter, codec) -> None:
    data = text([header("2022"), *table], codec, delimiter)
    status, said, report, kept = build("train.csv", data)
    if status == 2:
        # Cells of several lines that look like swallowed rows, or no dialogue at all.
        assert "swallows" in said or "no training dialogue is left" in said
        return
    assert status == 0 and report is not None
    check_accounts(report, kept)
    assert report["utterances"]["read"] == sum(is_turn(c) for row in table for c in row[-6:])
    assert report["read"][0]["rows"] == len(table)


@EXAMPLES
@given(ROWS)
def test_both_readers_of_delimited_text_agree(table) -> None:
    one_line = [[cell.replace("\r", "").replace("\n", "") for cell in row] for row in table]
    data = text([header("2022"), *one_line]).decode()
    rows = tables.read_text(data, ",", 13, "train.csv")
    found = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    assert [list(row) for row in found] == one_line
    assert rows.lines.tolist() == list(range(2, len(table) + 2))


BREAKS = st.sampled_from(
    [
        *(b'"', b",", b"\n", b"\r", b"\t", b"\x00", b"\xff", b"\xb0\xa1", b"[", b"{", b"}", b"]"),
        *(b":", b'""', b'"\n', b"nan", b"\\ud83d", b"\\", b"\xef\xbb\xbf", "각".encode()),
        *(b'"HS01": ', b"9" * 40),
    ]
)


@st.composite
def damaged(draw, data: bytes) -> bytes:
    """The data cut, overwritten, doubled or stuffed in a few places."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 1, 2, 10, 200])))
        with_ = draw(st.one_of(BREAKS, st.just(b""), st.just(data[start:end] * 2)))
        data = data[:start] + with_ + data[end:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


DIALOGUES = TRAIN + TEST
CSV = text(rows("2022", DIALOGUES))
HEADER, BODY = CSV.split(b"\r\n", 1)


@EXAMPLES
@given(
    st.one_of(
        damaged(CSV),
        damaged(CSV.decode().encode("cp949")),
        damaged(BODY).map(lambda body: HEADER + b"\n" + body),
        # Here the text stays text, so that more of it is read.
        damaged(BODY).map(lambda body: HEADER + b"\n" + body.decode("utf-8", "replace").encode()),
    )
)
def test_damaged_text(data: bytes) -> None:
    status, said, report, kept = build("train.csv", data)
    assert status in (0, 2) and "Traceback" not in said
    if report is None:
        return
    check_accounts(report, kept)
    # Counted again by other means: what Python's own reader finds in the columns of the turns.
    decoded = data.decode("utf-8-sig" if report["read"][0]["codec"] == "utf-8" else "cp949")
    delimiter = "\t" if "\t" in decoded.splitlines()[0] else ","
    names, *table = csv.reader(io.StringIO(decoded, newline=""), delimiter=delimiter)
    places = [[name.strip() for name in names].index(name) for name in TURN_NAMES]
    read = [row for row in table if 0 < len(row) <= len(names)]
    assert report["utterances"]["read"] == sum(
        is_turn(row[place]) for row in read for place in places if place < len(row)
    )
    too_many = report["dropped_rows"].get("too_many_cells", {"count": 0})["count"]
    assert too_many + len(read) == sum(map(bool, table))


JSON = records(DIALOGUES)


@EXAMPLES
@given(damaged(JSON))
def test_damaged_json(data: bytes) -> None:
    status, said, report, kept = build("train.json", data)
    assert status in (0, 2) and "Traceback" not in said
    if report is None:
        return
    check_accounts(report, kept)
    items = [item for item in json.loads(data.decode("utf-8-sig")) if isinstance(item, dict)]
    assert report["read"][0]["rows"] == len(items)
    found = 0
    for item in items:
        talk = item.get("talk")
        content = talk.get("content") if isinstance(talk, dict) else None
        for value in content.values() if isinstance(content, dict) else ():
            found += isinstance(value, dict | list) or is_turn("" if value is None else str(value))
    not_text = report["trimmed_turns"].get("not_text", {"count": 0})["count"]
    assert report["utterances"]["read"] + not_text == found


@EXAMPLES
@given(
    st.one_of(
        damaged(xlsx(rows("2022", DIALOGUES))).map(lambda data: ("train.xlsx", data)),
        damaged(archive({"감성/Training.csv": CSV}, "cp949")).map(lambda data: ("a.zip", data)),
        damaged(archive({"Training.zip": archive({"a.json": JSON})})).map(lambda d: ("b.zip", d)),
        st.binary(max_size=300).map(lambda data: ("train.csv", data)),
        st.binary(max_size=300).map(lambda data: ("train.json", b'["talk""profile"' + data)),
    )
)
def test_damaged_archives_and_noise(named: tuple[str, bytes]) -> None:
    status, said, report, kept = build(*named)
    assert status in (0, 2) and "Traceback" not in said
    if report is not None:
        check_accounts(report, kept)
