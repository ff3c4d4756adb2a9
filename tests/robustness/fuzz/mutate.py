"""Mutations of bytes, tables and names, drawn from a seeded generator."""

from __future__ import annotations

from random import Random

TOKENS = [
    *(
        b'"',
        b",",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xff",
        b"\xb0\xa1",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"\\",
        b'""',
        b"<",
        b">",
        b"&",
        b"---\n",
        b"- ",
        b"# ",
        b"&a ",
        b"*a ",
    ),
    *(
        b"NA",
        b"null",
        b"\\N",
        b"nan",
        b"true",
        b"-1",
        b"9" * 40,
        b"1e999",
        b"PK\x03\x04",
        b"PK\x05\x06",
    ),
    *(b'"talk"', b'"HS01"', b"\\ud83d", b"split", b"train", b'r="1048576"', b"</row>", b"<!--"),
    *(
        "가".encode(),
        "사람문장1".encode(),
        "\u3000".encode(),
        "\u200b".encode(),
        "e\u0301".encode(),
    ),
]
CELLS = [
    "",
    " ",
    "NA",
    "NULL",
    r"\N",
    "없음",
    "train",
    "test",
    "어제, 오늘",
    '"',
    "\n",
    "\u3000",
    "연령",
]
NAMES = [
    *(
        "",
        "../",
        "/",
        "..\\",
        ".hidden/",
        "__MACOSX/",
        "a" * 150 + "/",
        "학습/",
        "검증/",
        "Test/",
        "[1]/",
    ),
    *("Training", "Validation", "테스트", "a::b/", "C:", "\u202e", "e\u0301"),
]
SUFFIXES = [
    ".csv",
    ".CSV",
    ".tsv",
    ".txt",
    ".xlsx",
    ".json",
    ".zip",
    ".xls",
    ".jsonl",
    ".part0",
    "",
]


def data(random: Random, data: bytes, most: int = 4) -> bytes:
    """The bytes cut, overwritten, doubled or stuffed in a few places."""
    for _ in range(random.randint(1, most)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice([0, 0, 1, 2, 10, 200]))
        some = [random.choice(TOKENS), b"", data[start:end] * 2, random.randbytes(3)]
        data = data[:start] + random.choice(some) + data[end:]
    return data[: random.randint(0, len(data))] if random.random() < 0.05 else data


def table(random: Random, rows: list[list[str]]) -> list[list[str]]:
    """The table with cells, rows and columns changed, moved, doubled or gone."""
    rows = [list(row) for row in rows]
    for _ in range(random.randint(1, 6)):
        row = random.choice(rows)
        place = random.randrange(len(row) + 1)
        match random.randrange(8):
            case 0:
                row.insert(place, random.choice(CELLS))
            case 1:
                del row[place : place + random.randint(1, 3)]
            case 2:
                row[place : place + 1] = [random.choice(CELLS)]
            case 3:
                rows.insert(random.randrange(len(rows) + 1), list(random.choice(rows)))
            case 4:
                row += [""] * random.randint(1, 3)
            case 5:
                random.shuffle(rows if random.random() < 0.5 else row)
            case 6:
                column = random.choice(["split", "SPLIT", "\ufeff", "연령", "사람문장1"])
                for at, one in enumerate(rows):
                    one.append(random.choice(["train", "test", "학습", ""]) if at else column)
            case 7:
                row[:] = [
                    random.choice(["NA", "", "\u200b"]) if cell == "" else cell for cell in row
                ]
        if not row:
            row.append("")
    return rows


def name(random: Random, name: str) -> str:
    """The name with parts put before it or in it, or with another suffix."""
    if random.random() < 0.3:
        stem, dot, suffix = name.rpartition(".")
        name = (
            stem + random.choice(SUFFIXES) if random.random() < 0.5 else stem + dot + suffix.upper()
        )
    if random.random() < 0.3:
        place = random.randrange(len(name) + 1)
        name = name[:place] + random.choice(NAMES) + name[place:]
    return name
