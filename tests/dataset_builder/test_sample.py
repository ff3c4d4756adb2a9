"""The sample corpus of the package: what its files hold, and that its parts still give them."""

import csv
import io
import subprocess
import sys
from collections import Counter

import pytest

from model_card.publishing.errors import KoSentError
from tests.support import ROOT
from tests.tools.sample import generate, parts

SAMPLE = generate.FOLDER
EMOTIONS = {
    "분노": {
        *("툴툴대는", "좌절한", "짜증내는", "방어적인", "악의적인"),
        *("안달하는", "구역질 나는", "노여워하는", "성가신"),
    },
    "슬픔": {
        *("실망한", "비통한", "후회되는", "우울한", "마비된"),
        *("염세적인", "눈물이 나는", "낙담한", "환멸을 느끼는"),
    },
    "불안": {
        *("두려운", "스트레스 받는", "취약한", "혼란스러운", "당혹스러운"),
        *("회의적인", "걱정스러운", "조심스러운", "초조한"),
    },
    "상처": {
        *("질투하는", "배신당한", "고립된", "충격 받은", "가난한, 불우한"),
        *("희생된", "억울한", "괴로워하는", "버려진"),
    },
    "당황": {
        *("고립된", "남의 시선을 의식하는", "외로운", "열등감", "죄책감의"),
        *("부끄러운", "혐오스러운", "한심한", "혼란스러운"),
    },
    "기쁨": {
        *("감사하는", "신뢰하는", "편안한", "만족스러운", "흥분"),
        *("느긋", "안도", "신이 난", "자신하는"),
    },
}
SITUATIONS = {
    *("가족관계", "학업 및 진로", "학교폭력/따돌림", "대인관계", "연애,결혼,출산"),
    *("진로,취업,직장", "대인관계(부부, 자녀)", "재정,은퇴,노후준비", "건강"),
    *("직장, 업무 스트레스", "건강,죽음", "대인관계(노년)", "재정"),
}
HEADER = (
    ",연령,성별,상황키워드,신체질환,감정_대분류,감정_소분류,"
    "사람문장1,시스템문장1,사람문장2,시스템문장2,사람문장3,시스템문장3"
)


def read(name: str) -> list[dict[str, str]]:
    text = (SAMPLE / name).read_bytes().decode("cp949")
    return list(csv.DictReader(io.StringIO(text, newline="")))


TRAIN = read("Training/sample_Training.csv")
TEST = read("Validation/sample_Validation.csv")
BOTH = TRAIN + TEST


def lines(row: dict[str, str], who: str) -> list[str]:
    return [row[f"{who}문장{turn}"] for turn in (1, 2, 3) if row[f"{who}문장{turn}"]]


def sentences(text: str) -> list[str]:
    return [part.strip() for part in text.replace("?", ".").split(".") if part.strip()]


def test_the_parts_give_the_committed_bytes():
    command = [sys.executable, "-m", "tests.tools.sample.generate", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (
        0,
        "Training/sample_Training.csv: 1200 dialogues, as the parts give them\n"
        "Validation/sample_Validation.csv: 240 dialogues, as the parts give them\n",
    )


def test_files_look_as_a_korean_spreadsheet_exports_them():
    data = (SAMPLE / "Training/sample_Training.csv").read_bytes()
    header, first, *_ = data.decode("cp949").split("\r\n")
    assert header == HEADER
    assert first.startswith("0,")
    assert data.endswith(b"\r\n")
    assert data.count(b"\n") == data.count(b"\r\n") == 1201


def test_counts_and_turns():
    assert (len(TRAIN), len(TEST)) == (1200, 240)
    assert Counter(len(lines(row, "사람")) for row in TRAIN) == {1: 60, 2: 360, 3: 780}


def test_a_turn_has_both_sides_and_missing_turns_are_last():
    for row in BOTH:
        filled = [bool(row[f"{who}문장{turn}"]) for turn in (1, 2, 3) for who in ("사람", "시스템")]
        turns = len(lines(row, "사람"))
        assert filled == [True] * (2 * turns) + [False] * (6 - 2 * turns)


def test_every_emotion_is_there_and_pairs_with_its_major():
    table = {(major, minor) for major, minors in EMOTIONS.items() for minor in (major, *minors)}
    assert len(table) == 60
    assert {(row["감정_대분류"], row["감정_소분류"]) for row in TRAIN} == table
    assert {(row["감정_대분류"], row["감정_소분류"]) for row in TEST} <= table
    assert {row["감정_대분류"] for row in TEST} == set(EMOTIONS)
    assert len({row["감정_소분류"] for row in TEST}) >= 30


@pytest.mark.parametrize("rows", [TRAIN, TEST], ids=["train", "test"])
def test_situations_ages_genders_and_illness_vary(rows):
    assert {row["상황키워드"] for row in rows} == SITUATIONS
    assert {row["연령"] for row in rows} == {"청소년", "청년", "중년", "노년"}
    assert {row["성별"] for row in rows} == {"남성", "여성"}
    assert {row["신체질환"] for row in rows} == {"만성질환 유", "만성질환 무"}


def test_no_two_dialogues_begin_alike():
    assert [line for line, n in Counter(row["사람문장1"] for row in BOTH).items() if n > 1] == []


def test_no_test_story_is_told_in_training():
    stories = parts.load_stories()
    told = {part for row in TRAIN for line in lines(row, "사람") for part in sentences(line)}
    untold = [story for story in stories if story.split == "test"]
    assert len(untold) >= 13
    for story in untold:
        written = [*story.open, *(exchange.say for exchange in story.talk + story.plan)]
        assert [line for line in written if set(sentences(line)) <= told] == []


def test_the_chatbot_answers_politely():
    for row in BOTH:
        for line in lines(row, "시스템"):
            for sentence in sentences(line):
                assert sentence[-1] in "요다까", line


def test_no_reply_is_worn_out():
    replies = Counter(line for row in TRAIN for line in lines(row, "시스템"))
    ((_, most),) = replies.most_common(1)
    assert most <= 0.005 * replies.total()
    assert len(replies) >= 0.8 * replies.total()


def test_nothing_is_left_to_fill_in():
    assert not any(mark in line for row in BOTH for line in row.values() for mark in "{}|")


@pytest.mark.slow
def test_a_changed_file_is_found(tmp_path):
    generate.write(tmp_path)
    (tmp_path / "Validation/sample_Validation.csv").write_bytes(b"changed")
    with pytest.raises(
        KoSentError, match=r"^Validation/sample_Validation\.csv: not what the parts"
    ):
        generate.check(tmp_path)


@pytest.mark.parametrize("column", ["감정_대분류", "연령", "성별", "신체질환"])
def test_the_readme_counts_what_is_there(column):
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for value in {row[column] for row in BOTH}:
        train, test = (sum(row[column] == value for row in rows) for rows in (TRAIN, TEST))
        assert f"| {value} | {train} | {test} |\n" in readme


def test_who_sees_no_hope_is_shown_help():
    hopeless = {
        part
        for story in parts.load_stories()
        if story.tone == "heavy"
        for part in (*story.open, *story.why)
    }
    dialogues = [row for row in BOTH if any(part in row["사람문장1"] for part in hopeless)]
    assert len(dialogues) >= 10
    for row in dialogues:
        assert any(help in " ".join(lines(row, "시스템")) for help in ("109", "1577-0199", "상담"))
