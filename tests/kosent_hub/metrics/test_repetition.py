"""Repetition: loops as models make them are found, and what people write is let be."""

import csv
import itertools
import random

import pytest

from kosent_hub import metrics
from kosent_hub.evaluation.retention import paragraphs
from kosent_hub.metrics.kosent_score.repetition import repeats
from tests.conftest import ROOT

START = "오늘 하루 정말 고생 많으셨어요. 그 마음을 혼자 안고 계셨다니 얼마나 무거우셨을까요. "
SENTENCES = [
    "많이 힘드셨겠어요. ",
    "그렇군요. 저도 그렇게 생각해요. ",
    "괜찮아요. ",
    "당신의 마음을 충분히 이해합니다.\n",
    "무슨 일이 있었는지 말씀해 주시겠어요? ",
    "I am sorry to hear that. ",
    "힘내세요 😊 ",
    "ㅋㅋㅋ 그러네요 ",
]
PHRASES = [
    "정말 힘드셨겠어요 ",
    "그래서 저는 정말 ",
    "너무 너무 ",
    "좋은 일이 생길 거예요 그리고 ",
    "그 사람이 그 사람을 ",
    "마음이 아프고 ",
    "정말 ",
    "네, ",
    "괜찮아",
    "사용자: 힘들어요\n상담사: 그랬군요\n",
]
ORDINALS = ["첫", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열"]
ADJECTIVES = ["좋은", "멋진", "착한", "따뜻한", "소중한", "아름다운", "훌륭한", "다정한", "귀한"]
LOOPS = [
    *(sentence * 6 for sentence in SENTENCES),
    *(START + sentence * 6 for sentence in SENTENCES),
    *((START + sentence * 20)[:160] for sentence in SENTENCES),
    *(phrase * 10 for phrase in PHRASES),
    *(START + phrase * 10 for phrase in PHRASES),
    *(syllable * 40 for syllable in "아하네가"),
    *(START + syllable * 25 for syllable in "아하네가"),
    # Two or three sentences by turns, and a whole reply again.
    "힘드셨겠어요. 괜찮으세요? " * 5,
    "밥을 드세요. 물을 드세요. 잠을 주무세요. " * 4,
    (START + "저와 함께 천천히 이야기해 봐요. ") * 3,
    (START * 3)[:110],
    # A counter in each sentence.
    "".join(f"{i}. 충분히 쉬세요. " for i in range(1, 12)),
    "".join(f"{i}번째 이유는 당신이 소중하기 때문입니다. " for i in range(1, 8)),
    "".join(f"{i}시에 일어나고 {i + 1}시에 잡니다. " for i in range(1, 13)),
    START + "".join(f"{i}일 뒤에는 더 나아질 거예요. " for i in range(8, 16)),
    "".join(f"Q{i}: 무엇이 힘드신가요? A{i}: 모르겠어요. " for i in range(1, 7)),
    # A word that changes in each sentence.
    "".join(f"{word} 번째, 자신을 믿으세요. " for word in ORDINALS),
    "".join(f"오늘은 {day}요일이라서 기분이 좋아요. " for day in "월화수목금토일"),
    START + "".join(f"당신은 {word} 사람입니다. " for word in ADJECTIVES),
    " ".join("정말 " * times + "좋아요." for times in range(1, 9)),
    # No words at all.
    "0." + "0" * 60,
    "010-1234-" * 10,
    "." * 200,
    "힘드\ufffd " * 10,
]
HUMAN = [
    "네.",
    "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ 진짜 웃겨요",
    "ㅠㅜㅠㅜㅠㅜㅠㅜㅠㅜㅠㅜㅠㅜㅠㅜㅠㅜ 어떡해요",
    "하하하하하하, 그 말이 제일 재미있네요!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
    "네네네네네, 잘 알겠어요.",
    "정말 정말 정말 고마워요. 덕분에 살았어요.",
    "파이팅! 파이팅! 파이팅! 내일 시험 잘 볼 거예요.",
    "괜찮아요. 괜찮아요. 괜찮아요. 아무도 탓하지 않아요.",
    "저런… 많이 놀라셨겠어요……………………………………… 지금은 좀 어떠세요?",
    "축하해요🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉",
    "정말 힘드셨겠어요. 정말 힘드셨겠어요.",
    "하나, 둘, 셋, 넷, 다섯, 여섯, 일곱, 여덟, 아홉, 열까지 천천히 세어 보세요.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 이렇게 세면 잠이 와요.",
    "전화 109, 1577-0199, 1388은 밤낮으로 열려 있습니다. 언제든지 걸 수 있습니다.",
    "1. 물을 한 잔 마시기\n2. 창문을 열고 바람 쐬기\n3. 좋아하는 노래 한 곡 듣기\n"
    "4. 친구에게 안부 묻기\n5. 일찍 잠자리에 들기\n6. 내일 입을 옷 골라 두기",
    "아침에는 미역국을 끓여 먹었습니다. 점심에는 김밥을 싸서 공원에 갔습니다. 저녁에는 된장찌개를 "
    "데워 먹었습니다. 설거지를 마치고 책을 읽었습니다. 열한 시쯤 불을 끄고 누웠습니다.",
    "월요일은 회의가 많아 바빴고, 화요일은 출장을 다녀왔고, 수요일은 하루 종일 비가 왔어요. "
    "목요일에는 동생이 놀러 왔고 금요일에는 같이 영화를 봤어요.",
    "비가 오면 생각나는 사람이 있어요. 눈이 오면 걷고 싶은 길이 있어요. 바람이 불면 부르고 싶은 "
    "노래가 있어요. 당신에게도 그런 것이 있나요?",
    "사직서를 내는 것도 방법이고, 부서를 옮기는 것도 방법이고, 조금 더 버티며 준비하는 것도 "
    "방법이에요. 어느 쪽이든 당신이 정하면 됩니다.",
    "당신 탓이 아니에요. 그 사람 탓도 아닐 거예요. 누구의 탓도 아닌 일이 세상에는 있어요.",
]
LENGTHS = (10, 30, 100, 300, 1000, 3000)


@pytest.mark.parametrize("text", LOOPS)
def test_a_loop_is_found(text):
    assert repeats(text)


def test_the_loops_are_many():
    assert len(set(LOOPS)) == len(LOOPS) >= 60


@pytest.mark.parametrize("text", HUMAN)
def test_what_a_person_writes_is_none(text):
    assert not repeats(text)


def replies():
    """Different replies of the sample corpus."""
    found = set()
    for path in (ROOT / "dataset_builder" / "sample").glob("*/*.csv"):
        with path.open(encoding="cp949", newline="") as file:
            for row in csv.DictReader(file):
                found |= {text.strip() for name, text in row.items() if name.startswith("시스템")}
    return sorted(found - {""})


@pytest.mark.parametrize("length", LENGTHS)
def test_of_human_text_of_any_length_under_two_in_a_hundred_are_flagged(length):
    draw = random.Random(length)
    corpus, prose = replies(), " ".join(itertools.chain.from_iterable(paragraphs("ko")))
    texts = [" ".join(draw.sample(corpus, 1 + length // 10))[:length] for _ in range(75)]
    starts = [draw.randrange(max(1, len(prose) - length)) for _ in range(25)]
    texts += [prose[start : start + length] for start in starts]
    assert metrics.repetition_rate(texts).value < 0.02


def test_how_much_must_repeat_does_not_depend_on_what_stands_around_it():
    prose = " ".join(itertools.chain.from_iterable(paragraphs("ko")))
    assert repeats(prose + "내일은 괜찮을 거예요. " * 4 + prose[:200])
    assert not repeats(prose + "내일은 괜찮을 거예요. " * 2)


def test_repetition_rate_counts_replies_with_a_loop():
    loop = "정말 힘드셨겠어요 정말 힘드셨겠어요 정말 힘드셨겠어요"
    twice = "정말 힘드셨겠어요. 정말 힘드셨겠어요."
    found = metrics.repetition_rate([loop, twice, "ㅋㅋㅋㅋㅋㅋㅋ", "하" * 30, ""])
    assert found.rows.tolist() == [[1, 1], [0, 1], [0, 1], [1, 1], [0, 1]]
    assert "16 characters" in found.signature


def test_an_unfinished_sentence_counts_for_repetition_only_where_it_is_a_loop_itself():
    whole = "마음이 많이 아프셨겠어요. "
    third = "마음이 많이 아프셨겠"
    cut = [whole * 2 + third, whole * 3 + third, "네, " * 20, "아직 한 문장도 끝나지", "   "]
    found = metrics.repetition_rate(cut, [True] * 5)
    assert found.rows.tolist() == [[0, 1], [1, 1], [1, 1], [0, 0], [0, 0]]
    assert metrics.repetition_rate(cut).rows[:, 1].tolist() == [1] * 5
