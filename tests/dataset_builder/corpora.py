"""Small corpora in every edition and container, written as AI Hub and its users write them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support import ROOT

SAMPLE = ROOT / "dataset_builder" / "sample"
# Training and Validation of the 2022 edition.
ROWS = {"train": 51_630, "test": 6_641}
LABELS = ["연령", "성별", "상황키워드", "신체질환", "감정_대분류", "감정_소분류"]
EDITIONS = {
    "2021-raw": (["번호", "value"], "시스템응답", 3),
    "2021-final": (["번호"], "시스템응답", 4),
    "2022": ([""], "시스템문장", 3),
}
CODES = {
    "청년": "A02",
    "노년": "A04",
    "여성": "G02",
    "남성": "G01",
    "진로,취업,직장": "S06",
    "건강,죽음": "S11",
    "만성질환 무": "D02",
    "만성질환 유": "D01",
}
EMOTIONS = {
    ("불안", "두려운"): "E31",
    ("상처", "고립된"): "E43",
    ("당황", "고립된"): "E51",
    ("기쁨", "감사하는"): "E61",
}

# age, gender, situation, disease, major, minor, turns
Dialogue = tuple[str, str, str, str, str, str, list[str]]

TRAIN: list[Dialogue] = [
    (
        *("청년", "여성", "진로,취업,직장", "만성질환 무", "불안", "두려운"),
        [
            "면접이 내일이라 떨려.",
            "많이 긴장되시겠어요.",
            "응, 잠도 안 와.",
            "따뜻한 차 한 잔 어때요?",
        ],
    ),
    (
        *("노년", "남성", "건강,죽음", "만성질환 유", "상처", "고립된"),
        ["아무도 찾아오지 않아.", "외로우셨겠어요."],
    ),
    (
        *("청년", "남성", "진로,취업,직장", "만성질환 무", "당황", "고립된"),
        [
            "팀에서 나만 몰랐어.",
            "당황하셨겠네요.",
            "왜 나만 빼놨을까?",
            "속상하시죠.",
            "물어볼까?",
            "네.",
        ],
    ),
]
TEST: list[Dialogue] = [
    (
        *("노년", "여성", "건강,죽음", "만성질환 무", "기쁨", "감사하는"),
        ["손주가 전화를 했어.", "정말 반가우셨겠어요!"],
    ),
]


def header(edition: str) -> list[str]:
    first, reply, turns = EDITIONS[edition]
    said = [f"{stem}{n}" for n in range(1, turns + 1) for stem in ("사람문장", reply)]
    return [*first, *LABELS, *said]


def rows(edition: str, dialogues: list[Dialogue]) -> list[list[str]]:
    """The header and a row for each dialogue, its missing turns empty."""
    first, _, turns = EDITIONS[edition]
    table = [header(edition)]
    for number, (*labels, said) in enumerate(dialogues):
        blanks = [""] * (2 * turns - len(said))
        table.append([str(number)] * len(first) + [*labels, *said, *blanks])
    return table


def text(table: list[list[str]], codec: str = "utf-8", delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(table)
    return out.getvalue().encode(codec)


def xlsx(table: list[list[object]], sheets: list[str] = ["Sheet1"]) -> bytes:  # noqa: B006
    """A workbook with the table on its last sheet, empty cells left out as Excel does."""
    return book({name: [] for name in sheets[:-1]} | {sheets[-1]: table})


def book(sheets: dict[str, list[list[object]]], hidden: tuple[str, ...] = ()) -> bytes:
    """A workbook with a table on each sheet."""
    names = "".join(
        f'<sheet name="{name}" sheetId="{i}" r:id="rId{i}"'
        + (' state="hidden"/>' if name in hidden else "/>")
        for i, name in enumerate(sheets, 1)
    )
    relations = "".join(
        f'<Relationship Id="rId{i}" Target="worksheets/sheet{i}.xml" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"/>'
        for i in range(1, len(sheets) + 1)
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{relations}'
        "</Relationships>",
    }
    for i, table in enumerate(sheets.values(), 1):
        parts[f"xl/worksheets/sheet{i}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{_sheet(table)}</sheetData></worksheet>'
        )
    return archive({name: part.encode() for name, part in parts.items()})


def records(dialogues: list[Dialogue], personas: list[str] | None = None) -> bytes:
    """The JSON edition: codes for labels, "" for a missing turn."""
    items = []
    for number, (age, gender, situation, disease, major, minor, said) in enumerate(dialogues):
        profile = personas[number] if personas else f"Pro_{number:05d}"
        keys = [f"{stem}0{n}" for n in (1, 2, 3) for stem in ("HS", "SS")]
        content = dict(zip(keys, [*said, *[""] * (6 - len(said))], strict=True))
        emotion, place = EMOTIONS[major, minor], [CODES[situation], CODES[disease]]
        items.append(
            {
                "profile": {
                    "persona-id": profile,
                    "persona": {
                        "persona-id": f"{CODES[age]}_{CODES[gender]}_C01",
                        "human": [CODES[age], CODES[gender]],
                        "computer": ["C01"],
                    },
                    "emotion": {
                        "emotion-id": "_".join([*place, emotion]),
                        "type": emotion,
                        "situation": place,
                    },
                },
                "talk": {
                    "id": {"profile-id": profile, "talk-id": f"{profile}_{number:05d}"},
                    "content": content,
                },
            }
        )
    return json.dumps(items, ensure_ascii=False, indent=1).encode()


def archive(members: dict[str, bytes], codec: str = "utf-8") -> bytes:
    """A zip; with another codec its names carry no UTF-8 flag, as old Korean tools write them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in members.items():
            zipped.writestr(_Unflagged(name, codec) if codec != "utf-8" else name, data)
    return out.getvalue()


def large(folder: Path, rows: dict[str, int], longest: int | None) -> Path:
    """As many dialogues a split, the sample's over and over, each a little different.

    `longest` cuts every turn to so many characters.
    """
    sample = (SAMPLE / "Training" / "sample_Training.csv").read_bytes().decode("cp949")
    names, *lines = csv.reader(io.StringIO(sample, newline=""))
    first = names.index("사람문장1")
    files, number = {}, 0
    for split, count in rows.items():
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(names)
        for row in range(count):
            cells = list(lines[number % len(lines)])
            cells[first:] = [cell[:longest] for cell in cells[first:]]
            cells[0], cells[first] = str(row), f"{cells[first]} {number}"
            writer.writerow(cells)
            number += 1
        files[f"{split}/{split}.CSV"] = out.getvalue().encode("cp949")
    return tree(folder, files)


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


class _Unflagged(zipfile.ZipInfo):
    """A member whose name's bytes are in another codec and say nothing of it."""

    def __init__(self, name: str, codec: str):
        super().__init__(name)
        self.raw = name.encode(codec)

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def _sheet(table: list[list[object]]) -> str:
    lines = []
    for r, row in enumerate(table, 1):
        cells = []
        for c, value in enumerate(row):
            at = f"{chr(65 + c)}{r}"
            if isinstance(value, int | float):
                cells.append(f'<c r="{at}"><v>{value}</v></c>')
            elif value:
                escaped = escape(str(value))
                kept = f'<is><t xml:space="preserve">{escaped}</t></is>'
                cells.append(f'<c r="{at}" t="inlineStr">{kept}</c>')
        lines.append(f'<row r="{r}">{"".join(cells)}</row>')
    return "".join(lines)
