"""Each metric against the library that defines it, and against values worked out by hand."""

import inspect
import json
import math
import shutil
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import sacrebleu
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kosent_hub import metrics
from kosent_hub.metrics.kosent_score import form, overlap
from model_card.metrics import LEADERBOARD, METRICS
from tests.conftest import ROOT

PREDICTIONS = [
    "오늘 많이 힘드셨겠어요. 푹 쉬세요.",
    "정말 축하드려요!",
    "그 일이 계속 마음에 남아 힘드셨겠어요.",
    "",
]
REFERENCES = [
    "오늘 정말 많이 힘드셨겠어요. 푹 쉬세요.",
    "취업을 하셨군요. 축하드려요!",
    "그 일이 마음에 오래 남아 힘드셨겠어요. 말해 줘서 고마워요.",
    "괜찮아요.",
]


def test_importing_the_metrics_imports_no_torch():
    code = "import sys, kosent_hub.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_bleu_is_sacrebleus_corpus_score_on_morphemes():
    found = metrics.bleu(PREDICTIONS, REFERENCES)
    official = sacrebleu.BLEU(tokenize="ko-mecab")
    score = official.corpus_score(PREDICTIONS, [REFERENCES]).score
    assert found.value == pytest.approx(score, abs=1e-9)
    assert found.value == pytest.approx(44.63299195373444)
    assert found.signature == str(official.get_signature())
    assert found.signature.startswith("nrefs:1|case:mixed|eff:no|tok:ko-mecab-0.996/ko-0.9.2-KO|")


def test_chrf_is_sacrebleus_corpus_score_with_word_order_two():
    found = metrics.chrf(PREDICTIONS, REFERENCES)
    official = sacrebleu.CHRF(word_order=2)
    score = official.corpus_score(PREDICTIONS, [REFERENCES]).score
    assert found.value == pytest.approx(score, abs=1e-9)
    assert found.value == pytest.approx(48.96917537827025)
    assert found.signature == str(official.get_signature())


@pytest.fixture(scope="module")
def random_counts():
    """Random counts (1000, 34), many of them 0, of sizes from one reply's to a corpus's."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, rng.choice([2, 5, 50, 100_000], size=(1000, 1)), size=(1000, 34))
    return np.where(rng.random(counts.shape) < rng.choice([0, 0.2, 0.6], (1000, 1)), 0, counts)


def test_bleu_of_counts_is_sacrebleus(random_counts):
    official = sacrebleu.BLEU(tokenize="none")
    counts = random_counts[:, :10]
    counts[:, 2:6] = np.minimum(counts[:, 2:6], counts[:, 6:])
    expected = [official._compute_score_from_stats(row.tolist()).score for row in counts]
    assert np.count_nonzero(expected) > 200
    assert overlap.bleu_of(counts) == pytest.approx(expected, abs=1e-9)
    assert overlap.bleu_of(np.zeros(10)) == 0


def test_chrf_of_counts_is_sacrebleus(random_counts):
    official = sacrebleu.CHRF(word_order=2)
    counts = random_counts[:, 10:]
    counts[:, 2::3] = np.minimum(counts[:, 2::3], np.minimum(counts[:, ::3], counts[:, 1::3]))
    expected = [official._compute_f_score(row.tolist()) for row in counts]
    assert np.count_nonzero(expected) > 200
    assert overlap.chrf_of(counts) == pytest.approx(expected, abs=1e-9)
    assert overlap.chrf_of(np.zeros(24)) == 0


def test_nothing_of_nothing_is_not_measured():
    assert np.isnan(metrics.hangul_ratio(["...", ""]).value)
    assert np.isnan(metrics.length_ratio(["네"], [""]).value)
    assert metrics.hangul_ratio(["네!", "..."]).per_sample == pytest.approx(
        [1, np.nan], nan_ok=True
    )
    assert np.isnan(metrics.empty_rate([]).value)


def test_a_value_that_is_not_finite_is_not_measured():
    found = metrics.mean_of([1.0, float("inf"), 0.0, float("nan")], signature="")
    assert np.isnan(found.value)
    assert found.per_sample == pytest.approx([1, np.nan, 0, np.nan], nan_ok=True)


def test_a_share_says_on_how_many_cases_it_stands():
    assert metrics.hangul_ratio(["안녕 hi", "..."]).cases == 4
    assert metrics.empty_rate(["", "네"]).cases == 2
    assert metrics.bleu(PREDICTIONS, REFERENCES).cases == 4


# nltk 3.10.4: sentence_bleu([r.split()], p.split(), smoothing_function=...) of the four pairs, and
# of 축하 against 축하 드려요; without smoothing it gives 1e-154 and the like for 0.
@pytest.mark.parametrize(
    ("name", "nltk", "one_word", "smoothing"),
    [
        ("sentence_bleu_unsmoothed", [0.5789300674674098, 0.0, 0.0, 0.0], 0.0, "none"),
        (
            "sentence_bleu",  # method1
            [0.5789300674674098, 0.09069748827745895, 0.07830277146770757, 0.0],
            0.06541924356118012,
            "floor[0.1]",
        ),
        (
            "sentence_bleu_method4",
            [0.5789300674674098, 0.04096772609215166, 0.08813724863901892, 0.0],
            0.36787944117144233,
            "method4[5]",
        ),
    ],
)
def test_sentence_bleu_is_nltks_on_whitespace_words(name, nltk, one_word, smoothing):
    score = getattr(metrics, name)
    found = score(PREDICTIONS, REFERENCES)
    assert found.per_sample == pytest.approx(nltk)
    assert found.value == pytest.approx(sum(nltk) / 4)
    assert found.signature == f"sentence|order:4|tok:whitespace|smooth:{smoothing}|average:mean"
    assert score(["축하"], ["축하 드려요"]).value == pytest.approx(one_word)
    assert score(["아니요"], ["네"]).value == 0


def test_rouge_l_is_rouge_scores_on_morphemes_and_sees_korean():
    found = metrics.rouge_l(PREDICTIONS, REFERENCES)
    # rouge_score 0.1.2 with the same morphemes as its tokens, rougeL fmeasure
    expected = [0.9565217391304348, 0.46153846153846156, 0.7741935483870968, 0.0]
    assert found.per_sample == pytest.approx(expected)
    assert metrics.rouge_l(["괜찮아요."], ["괜찮아요."]).value == 1
    assert metrics.rouge_l(["가 나 다 가"], ["나 가 다 가"]).value == pytest.approx(0.75)


def test_several_references_count_as_in_sacrebleu_and_nltk():
    replies = ["오늘 많이 힘드셨겠어요.", "정말 축하드려요 정말"]
    several = [
        ("많이 힘드셨겠어요.", "오늘 하루가 많이 길었겠어요."),
        ("축하드려요", "정말 기쁜 소식이네요 축하드려요 정말"),
    ]
    streams = [list(stream) for stream in zip(*several, strict=True)]
    for score, official in (
        (metrics.bleu, sacrebleu.BLEU(tokenize="ko-mecab")),
        (metrics.chrf, sacrebleu.CHRF(word_order=2)),
    ):
        assert score(replies, several).value == pytest.approx(
            official.corpus_score(replies, streams).score
        )
        assert "nrefs:2" in score(replies, several).signature
    alone = [metrics.rouge_l(replies, stream).per_sample for stream in streams]
    found = metrics.rouge_l(replies, several)
    assert found.per_sample == [max(scores) for scores in zip(*alone, strict=True)]
    assert found.signature.endswith("|refs:best of 2")
    # Each word is in one of the two; the pair is in neither, and counts 0.1 as do longer ones.
    words = metrics.sentence_bleu(["축하 드려요"], [("축하 해요", "정말 기쁘게 드려요")])
    assert words.value == pytest.approx((1 * 0.1**3) ** 0.25)
    assert words.signature.endswith("|refs:best of 2")
    lengths = metrics.length_ratio(["네네네"], [("네", "네네네")])
    assert (lengths.value, lengths.signature) == (
        1.5,
        "characters without spaces|sum/sum|refs:mean of 2",
    )


def test_the_nearest_of_several_true_replies_gives_the_cosine():
    ours, near = np.array([[1.0, 0.0]]), np.array([[[0.0, 1.0]], [[1.0, 1.0]]])
    found = metrics.cosine_similarity(ours, near, "encoder")
    assert found.value == pytest.approx(0.5**0.5)
    assert found.signature == "encoder|refs:best of 2"


@pytest.mark.parametrize("name", overlap.OVERLAP)
def test_decomposed_hangul_is_the_same_text(name):
    text = "오늘 정말 많이 힘드셨겠어요. 푹 쉬세요."
    metric = getattr(metrics, name)
    same = metric([unicodedata.normalize("NFD", text)], [text])
    assert same.value == pytest.approx(100 if METRICS[name].unit == "0-100" else 1)


def test_the_score_of_a_subset_is_the_score_of_its_rows():
    found = metrics.bleu(PREDICTIONS, REFERENCES)
    subset = metrics.bleu(PREDICTIONS[:2], REFERENCES[:2])
    assert found.fold(found.rows[:2].sum(axis=0)) == subset.value


def test_cosine_similarity_is_the_mean_of_the_pairs():
    ours = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    theirs = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0], [1.0, 0.0]])
    found = metrics.cosine_similarity(ours, theirs, "s")
    assert found.per_sample == pytest.approx([1.0, 0.0, 0.6, 0.0])
    assert found.value == pytest.approx(0.4)


def test_distinct_counts_different_morphemes():
    # 힘들/어요 twice, 네 once: five unigrams, three of them different; two bigrams, one different
    assert metrics.distinct(["힘들어요", "힘들어요", "네"], 1) == pytest.approx(3 / 5)
    assert metrics.distinct(["힘들어요", "힘들어요", "네"], 2) == pytest.approx(1 / 2)
    assert np.isnan(metrics.distinct(["", " "], 1))


def test_distinct_compares_sets_at_the_number_of_morphemes_of_the_smallest():
    few, many = ["힘들어요", "힘들어요", "네"], ["힘들어요", "네", "좋아요"] * 4
    found = metrics.distinct_at([few, many, [""]], 1)
    assert found.at == 5
    assert found.signature == "morpheme 1-grams|mean over draws of 5"
    # 힘들, 어요, 네, 좋 and 아요 four times each; the chance that 5 drawn of the 20 miss one.
    missed = math.comb(16, 5) / math.comb(20, 5)
    assert found.values[:2] == pytest.approx([3 / 5, 1 - missed])
    assert np.isnan(found.values[2])
    assert metrics.distinct_at([[""]], 2).at == 0


def test_distinct_does_not_fall_as_replies_are_added():
    draw = np.random.default_rng(0)
    syllables = np.array([chr(code) for code in range(0xAC00, 0xAC00 + 11172, 28)])
    replies = [" ".join(draw.choice(syllables, 20)) for _ in range(1200)]
    half, whole = (metrics.distinct(part, 1) for part in (replies[:600], replies))
    assert half == pytest.approx(whole, rel=0.02)
    assert "of 10000" in metrics.distinct_at([replies], 1).signature


def test_length_ratio_compares_characters_without_spaces():
    assert metrics.length_ratio(["가 나", "다"], ["가나다라", "마 바"]).value == pytest.approx(0.5)
    assert METRICS["length_ratio"].higher_is_better is None


def test_empty_rate_counts_blank_replies():
    assert metrics.empty_rate(["", " \n", "네", "아니요"]).value == 0.5


def test_hangul_ratio_is_of_letters_and_counts_broken_ones_as_foreign():
    assert metrics.hangul_ratio(["안녕 123!?", "ㅠㅠ"]).value == 1
    assert metrics.hangul_ratio(["안녕 hi"]).value == 0.5
    assert metrics.hangul_ratio(["我안"]).value == 0.5
    assert metrics.hangul_ratio(["안\ufffd"]).value == 0.5
    assert metrics.hangul_ratio(["안\u3130"]).value == 1


def test_polite_ratio_counts_sentences_by_their_final_ending():
    polite = [
        "힘드셨겠어요.",
        "괜찮습니다.",
        "그랬구나요",
        "그러시죠?",
        "함께 갑시다.",
        "쉬십시오.",
    ]
    assert metrics.polite_ratio(polite).value == 1
    assert metrics.polite_ratio(["힘들었겠다.", "그랬구나", "밥 먹었니?"]).value == 0
    assert metrics.polite_ratio(["많이 힘들었지. 푹 쉬세요."]).value == 0.5
    assert np.isnan(metrics.polite_ratio(["바다", ""]).value)
    # Many are analysed in threads, and come out the same.
    assert metrics.polite_ratio(polite * 30).rows.tolist() == [[1, 1]] * 180


def test_half_a_syllable_at_the_end_of_a_cut_reply_is_no_foreign_letter():
    replies = ["안녕하세\ufffd\ufffd", "안\ufffd녕하세\ufffd", "안녕하세\ufffd"]
    found = metrics.hangul_ratio(replies, [True, True, False])
    assert found.rows.tolist() == [[4, 4], [4, 5], [4, 5]]


def test_the_unfinished_sentence_of_a_cut_reply_is_left_out_of_politeness():
    replies = ["많이 힘드셨겠어요. 푹 쉬어", "푹 쉬어", "힘내세요! 같이 해 봐요.", "그랬구나"]
    found = metrics.polite_ratio(replies, [True, True, True, False])
    assert found.rows.tolist() == [[1, 1], [0, 0], [2, 2], [0, 1]]
    assert metrics.polite_ratio(replies).rows.tolist() == [[1, 2], [0, 1], [2, 2], [0, 1]]


@pytest.mark.parametrize(
    ("finished", "rest"),
    [
        ("많이 힘드셨겠어요.", "오늘은 푹"),
        ("정말요?!", "저도 그"),
        ("음…", "그랬"),
        ("좋아요~", "내일"),
        ("축하해요ㅎㅎ", "다음에"),
        ("어떡해요 ㅠㅠ", "많이"),
        ("힘내세요^^", "저는"),
        ("힘내세요 😊", "저는"),
        ("힘내세요 ❤️", "저는"),
        ('"괜찮아."', "그 말이"),
        ("(농담이에요.)", "그래도"),
        ("다음을 해 보세요\n", "1. 물을 마"),
        ("쉬세요.\n1. 물을 드세요.", "2. 잠을"),
        ("", '그는 "괜찮아."라고 말'),
        ("", "3.5점이면 잘"),
        ("", "1. 물을 마"),
        ("", "한 문장도 끝나지"),
        ("끝난 문장이에요.", ""),
        ("끝난 줄이에요\n", ""),
        ("", ""),
    ],
)
def test_a_sentences_end_is_found_as_people_write_it(finished, rest):
    assert form.finished(f"{finished} {rest}".strip(" "), True) == (finished.strip(), rest)
    assert form.finished(f"{finished} {rest}", False) == (f"{finished} {rest}", "")


def test_a_sentence_ends_without_a_space_after_it():
    assert form.finished("힘드셨겠어요.그래도 힘", True) == ("힘드셨겠어요.", "그래도 힘")


def test_truncated_rate_is_the_share_of_cut_replies():
    assert metrics.truncated_rate([True, False, False, False]).value == 0.25
    assert METRICS["truncated_rate"].higher_is_better is False


def test_each_metric_on_texts_is_the_function_of_its_name():
    truncated = [False, True, False, False]
    given = {"predictions": PREDICTIONS, "references": REFERENCES, "truncated": truncated}
    found = metrics.measure_texts(**given)
    for name, measure in found.items():
        function = getattr(metrics, name)
        own = {n: given[n] for n in inspect.signature(function).parameters}
        np.testing.assert_equal(measure.value, function(**own).value, err_msg=name)
    assert found.keys() | metrics.DISTINCT.keys() < METRICS.keys()
    assert metrics.measure_texts(PREDICTIONS, REFERENCES).keys() == found.keys() - {
        "truncated_rate"
    }


def test_a_dataset_has_a_task_for_each_metric_that_orders_models():
    settings = yaml.safe_load((ROOT / "dataset_builder" / "eval.yaml").read_text("utf-8"))
    tasks = [task["id"] for task in settings["tasks"]]
    assert tasks == list(LEADERBOARD)
    assert {"perplexity", "token_accuracy", "length_ratio", "bits_per_byte"}.isdisjoint(tasks)
    assert all(METRICS[name].higher_is_better for name in tasks)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_any_text_gets_a_score(pairs):
    predictions, references = zip(*pairs, strict=True)
    for name in overlap.OVERLAP:
        found = getattr(metrics, name)(predictions, references)
        assert 0 <= found.value <= (100.0001 if METRICS[name].unit == "0-100" else 1.0001), name
    cut = [True] * len(predictions)
    for name in ("repetition_rate", "hangul_ratio", "polite_ratio"):
        for truncated in (None, cut):
            rows = getattr(metrics, name)(predictions, truncated).rows
            assert (rows[:, 0] <= rows[:, 1]).all(), name
    assert 0 <= metrics.empty_rate(predictions).value <= 1
    different = metrics.distinct(predictions, 2)
    assert np.isnan(different) or 0 < different <= 1 + 1e-9
    value = metrics.length_ratio(predictions, references).value
    assert np.isnan(value) == (not "".join(references).split())


TRUNCATED = [False, False, True, False]
KOSENT_SCORE = f"""
import json, sys, evaluate
module = evaluate.load(sys.argv[1])
scores = module.compute(
    predictions={PREDICTIONS!r}, references={REFERENCES!r}, truncated={TRUNCATED!r}
)
scores["of nothing"] = module.compute(predictions=["..."], references=["네"])["hangul_ratio"]
print(json.dumps(scores))
"""


def expected_scores():
    measured = metrics.measure_texts(PREDICTIONS, REFERENCES, TRUNCATED)
    return {name: measure.value for name, measure in measured.items()} | {
        **{name: metrics.distinct(PREDICTIONS, order) for name, order in metrics.DISTINCT.items()},
        "of nothing": None,
    }


def kosent_score(run, where, env):
    done = run([sys.executable, "-c", KOSENT_SCORE, str(where)], env=env, script=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_kosent_score_gives_the_same_numbers_from_a_folder_and_from_the_hub(hub, run):
    folder = ROOT / "kosent_hub" / "metrics" / "kosent_score"
    assert kosent_score(run, folder, hub.env()) == expected_scores()
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    hub.create("kosent/kosent_score", repo_type="space", files=files)
    shutil.rmtree(hub.home)  # with what the first one left there
    assert kosent_score(run, "kosent/kosent_score", hub.env(user=None)) == expected_scores()
