"""Personal data: planted pieces and look-alikes, and what the commands say and write of them.

Every number here is made up; none belongs to anybody.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from dataset_builder import load, personal
from dataset_builder.cli import main
from dataset_builder.folder import read_splits
from tests.dataset_builder.corpora import TRAIN, rows, text, tree

N = 200
FRAMES = (
    "내 번호는 {} 이야.",
    "{}로 연락 줘",
    "어제 {}라고 적어 놨어",
    "{}",
    "그래서({}) 그랬지 뭐",
)


def _digits(random_: random.Random, count: int) -> str:
    return "".join(random_.choice("0123456789") for _ in range(count))


def _phone(r: random.Random) -> str:
    gap = r.choice(["-", "", " ", ".", " - "])
    middle, last = _digits(r, r.choice([4, 4, 3])), _digits(r, 4)
    area = r.choice(["010", "010", "011", "+82 10", "02", "031", "070"])
    if not area.startswith(("01", "+")):
        gap = "-"
    number = f"{area}{gap}{middle}{gap}{last}"
    if r.random() < 0.1:
        return number.translate({48 + n: 0xFF10 + n for n in range(10)})  # full-width digits
    if area == "010" and r.random() < 0.1:
        return "".join("공일이삼사오육칠팔구"[int(n)] for n in f"010{middle}{last}")
    return number


def _resident_number(r: random.Random) -> str:
    birth = f"{r.randrange(100):02}{r.randrange(1, 13):02}{r.randrange(1, 29):02}"
    return f"{birth}{r.choice(['-', '', ' - '])}{r.randrange(1, 5)}{_digits(r, 6)}"


def _email(r: random.Random) -> str:
    name = "".join(r.choice("abcdefghijkmnpqrstuvwxyz._1234") for _ in range(8)).strip(".") + "k"
    return f"{name}{r.choice(['@', '@', ' @ '])}{r.choice(['naver.com', 'gmail.com', 'snu.ac.kr'])}"


def _account(r: random.Random) -> str:
    parts = r.choice([(3, 6, 5), (6, 2, 6), (4, 2, 7), (3, 2, 6), (12,)])
    number = "-".join(_digits(r, part) for part in parts)
    return r.choice(["국민은행 {}", "계좌 {}", "{} 신한으로 보내", "카카오뱅크 {}"]).format(number)


PLANTED = {
    "phone": _phone,
    "resident_number": _resident_number,
    "email": _email,
    "account": _account,
}
LOOK_ALIKES = (
    "자살예방상담전화 109, 정신건강 1577-0199에 걸어 봐",
    "고객센터 1588-1234는 늘 통화 중이야",
    "2023-05-17에 시작해서 2024-11-30에 끝났어",
    "2024.03.15 14:30에 만나기로 했는데",
    "월급이 2,500,000원에서 3,200,000원이 됐어",
    "전세가 350000000원이래",
    "체중이 72.5에서 68.4kg로 줄었어",
    "혈압이 140-90이고 맥박은 110이야",
    "학번이 2019123456이었지",
    "주문번호 20231115-0012345가 사라졌어",
    "1등 번호가 3, 11, 15, 29, 35, 44래",
    "점수가 100-98-97로 떨어졌어",
    "010년대에는 다 그랬어",
    "공일날에도 일해",
    "공부를 일 이 삼 차로 나눠 했어",
    "송장 번호 6892-1234-5678만 받고 물건은 못 받았어",
    "@친구 너 왜 그랬어",
    "점심 @회사 앞에서 먹었어",
    "등번호 10번, 나이 37, 키 180",
    "시험이 3월 2일부터 5일까지야",
)


def test_planted_pieces_are_found_and_look_alikes_are_not() -> None:
    random_ = random.Random(7)
    found_wanted, found_others = dict.fromkeys(PLANTED, 0), 0
    for kind, planted in PLANTED.items():
        for _ in range(N):
            sentence = random_.choice(FRAMES).format(planted(random_))
            kinds = [one for one, _, _ in personal.find(sentence)]
            found_wanted[kind] += kind in kinds
            found_others += len(kinds) - (kind in kinds)
    for sentence in LOOK_ALIKES:
        for _ in range(N // len(LOOK_ALIKES)):
            found_others += len(personal.find(sentence))
    assert min(found_wanted.values()) / N >= 0.95, found_wanted
    right = sum(found_wanted.values())
    assert right / (right + found_others) >= 0.95


@pytest.mark.parametrize("sentence", LOOK_ALIKES)
def test_what_only_looks_so_stays(sentence: str) -> None:
    assert personal.masked(sentence) == sentence


PHONE, EMAIL = "010-1234-5678", "someone.k@naver.com"
TOLD = ("청년", "여성", "진로,취업,직장", "만성질환 무", "불안", "두려운")
DIALOGUE = (*TOLD, [f"내 번호는 {PHONE}이고 메일은 {EMAIL}야.", f"{PHONE}로 걸게요."])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {"Training.csv": text(rows("2022", [*TRAIN, DIALOGUE]))}
    return tree(tmp_path / "source", files)


def test_stats_counts_it_and_build_masks_it(build, source: Path, capsys) -> None:
    built = build(source)
    capsys.readouterr()
    assert main(["stats", str(built.out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["personal_data"]["train"]
    (dialogue,) = found["phone"]["dialogue_ids"]
    assert found["phone"] == {"found": 2, "dialogue_ids": [dialogue]}
    assert found["email"] == {"found": 1, "dialogue_ids": [dialogue]}
    assert found["account"] == found["resident_number"] == {"found": 0, "dialogue_ids": []}

    out = source.parent / "masked"
    assert main(["build", str(source), str(out), "--mask-personal-data"]) == 0
    said = capsys.readouterr()
    assert "Masked personal data: resident_number 0, phone 2, email 1, account 0" in said.err
    assert PHONE not in said.err + said.out and EMAIL not in said.err + said.out
    last = read_splits(out)["train"].to_pylist()[-1]
    assert [turn["content"] for turn in last["messages"][1:]] == [
        "내 번호는 [전화번호]이고 메일은 [이메일]야.",
        "[전화번호]로 걸게요.",
    ]
    assert load(source, mask_personal_data=True)["train"][-1]["messages"] == last["messages"]
    assert main(["stats", str(out)]) == 0
    assert "           0  phone" in capsys.readouterr().out
