"""The metrics: what each is called, what it says, and how its numbers are read.

Everything that treats one metric otherwise than another asks here. How a metric is computed is in
kosent_hub; a record's metric that is not listed here is shown under its own name.
"""

from __future__ import annotations

from dataclasses import dataclass

KO, EN = "ko", "en"
# Metrics whose names begin so are of prompts by people in danger, and of look-alikes.
SAFETY = "safety_"


@dataclass(frozen=True)
class Label:
    """A name for people, and what it means ("" when we do not know)."""

    text: str
    meaning: str = ""


@dataclass(frozen=True)
class MetricInfo:
    """One metric. `higher_is_better` is None where neither direction is.

    A card's head shows the `headline` metrics, its first table these and the `main` ones; those
    that are `record_only` stand in results.json and in no table. Metrics with a score `per_sample`
    have a column in samples.parquet. `hub` is the Hub's name of it. Not `comparable` are values
    that depend on a model's tokenizer or on how many replies there are, and those of prompts of our
    own. `bench` metrics are measured on KoSent-Bench alone.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    ko: Label
    en: Label
    headline: bool = False
    main: bool = False
    record_only: bool = False
    per_sample: bool = False
    hub: str | None = None
    comparable: bool = True
    bench: bool = False


# fmt: off
_METRICS = (
    MetricInfo(
        "bleu", "0-100", True,
        Label("BLEU", "실제 답변과 낱말 묶음이 얼마나 겹치는지 (형태소 단위)"),
        Label("BLEU", "overlap of word sequences with the true reply (morphemes)"),
        headline=True, hub="bleu",
    ),
    MetricInfo(
        "chrf", "0-100", True,
        Label("chrF++", "실제 답변과 글자·낱말이 얼마나 겹치는지"),
        Label("chrF++", "overlap of characters and words with the true reply"),
        headline=True, per_sample=True, hub="chrf",
    ),
    MetricInfo(
        "sentence_bleu", "0-1", True,
        Label("문장 BLEU", "답변마다 BLEU를 매겨 평균한 값"),
        Label("Sentence BLEU", "BLEU of each reply, averaged"),
        main=True, per_sample=True,
    ),
    MetricInfo(
        "sentence_bleu_unsmoothed", "0-1", True,
        Label("문장 BLEU (평활화 없음)", "평활화 없이 답변마다 BLEU를 매겨 평균한 값"),
        Label("Sentence BLEU (unsmoothed)", "BLEU of each reply without smoothing, averaged"),
        record_only=True,
    ),
    MetricInfo(
        "sentence_bleu_method4", "0-1", True,
        Label("문장 BLEU (평활화 4)", "평활화 방법 4로 답변마다 BLEU를 매겨 평균한 값"),
        Label("Sentence BLEU (method 4)", "BLEU of each reply with smoothing method 4, averaged"),
        record_only=True,
    ),
    MetricInfo(
        "rouge_l", "0-1", True,
        Label("ROUGE-L", "실제 답변과 같은 순서로 나온 가장 긴 낱말 열"),
        Label("ROUGE-L", "longest common word sequence with the true reply"),
        main=True, per_sample=True, hub="rouge",
    ),
    MetricInfo(
        "cosine_similarity", "cosine", True,
        Label("코사인 유사도", "실제 답변과 뜻이 얼마나 가까운지 (문장 임베딩)"),
        Label("Cosine similarity", "closeness in meaning to the true reply (sentence embeddings)"),
        headline=True, per_sample=True,
    ),
    MetricInfo(
        "length_ratio", "ratio", None,
        Label("길이 비", "실제 답변 대비 길이 (1이 같은 길이)"),
        Label("Length ratio", "length against the true reply (1: the same)"),
    ),
    MetricInfo(
        "empty_rate", "share", False,
        Label("빈 답변", "아무 말도 하지 않은 비율"),
        Label("Empty replies", "share of empty replies"),
    ),
    MetricInfo(
        "truncated_rate", "share", False,
        Label("잘린 답변", "토큰 한도에 걸려 끝을 맺지 못한 답변의 비율"),
        Label("Cut replies", "share of replies that were cut at the limit of new tokens"),
    ),
    MetricInfo(
        "repetition_rate", "share", False,
        Label("반복", "같은 말을 되풀이한 답변의 비율"),
        Label("Repetition", "share of replies that repeat themselves"),
    ),
    MetricInfo(
        "hangul_ratio", "share", True,
        Label("한글 비율", "글자 가운데 한글의 비율"),
        Label("Hangul ratio", "share of letters that are Hangul"),
    ),
    MetricInfo(
        "polite_ratio", "share", True,
        Label("존댓말 비율", "존댓말로 끝난 문장의 비율"),
        Label("Polite endings", "share of sentences in polite speech"),
    ),
    MetricInfo(
        "perplexity", "per token", False,
        Label("퍼플렉서티", "실제 답변을 얼마나 뜻밖으로 여기는지"),
        Label("Perplexity", "how surprising the true reply is to the model"),
        main=True, per_sample=True, hub="perplexity", comparable=False,
    ),
    MetricInfo(
        "bits_per_byte", "bits per byte", False,
        Label("바이트당 비트", "실제 답변 한 바이트를 적는 데 드는 비트 (토크나이저와 무관)"),
        Label("Bits per byte", "bits to write a byte of the true reply (whatever the tokenizer)"),
        main=True, per_sample=True,
    ),
    MetricInfo(
        "token_accuracy", "0-1", True,
        Label("토큰 정확도", "실제 답변의 다음 토큰을 맞힌 비율"),
        Label("Token accuracy", "share of the true reply's tokens predicted right"),
        main=True, hub="accuracy", comparable=False,
    ),
    MetricInfo(
        "distinct_1", "share", True,
        Label("Distinct-1", "같은 수의 낱말 가운데 서로 다른 것의 비율 (높을수록 다양)"),
        Label("Distinct-1", "share of words that differ, among equally many (higher: more varied)"),
        comparable=False,
    ),
    MetricInfo(
        "distinct_2", "share", True,
        Label("Distinct-2", "같은 수의 두 낱말 묶음 가운데 서로 다른 것의 비율"),
        Label("Distinct-2", "share of word pairs that differ, among equally many"),
        comparable=False,
    ),
    MetricInfo(
        "retention_ko", "bits per byte", False,
        Label("일반 글 (한국어)", "대화가 아닌 한국어 글의 바이트당 비트 (늘어난 만큼 잊음)"),
        Label("Plain Korean", "bits per byte of Korean prose: what training adds is forgotten"),
        comparable=False,
    ),
    MetricInfo(
        "retention_en", "bits per byte", False,
        Label("일반 글 (영어)", "대화가 아닌 영어 글의 바이트당 비트"),
        Label("Plain English", "the same of English prose"),
        comparable=False,
    ),
    MetricInfo(
        "safety_crisis_referral", "share", True,
        Label(
            "위기의 말에 도움을 안내",
            "위기를 말하는 글에 운영 중인 상담전화를 알리거나 전문가를 권한 비율",
        ),
        Label(
            "Help offered in a crisis",
            "share of replies to crisis messages that name a live line or advise a professional",
        ),
        comparable=False,
    ),
    MetricInfo(
        "safety_harmless_referral", "share", False,
        Label(
            "일상의 말에 도움을 안내",
            "비슷해 보이지만 위기가 아닌 글에 상담전화를 알리거나 전문가를 권한 비율",
        ),
        Label(
            "Help offered where none is needed",
            "share of replies to look-alike harmless messages that do so",
        ),
    ),
    MetricInfo(
        "conduct_resisted", "share", True,
        Label(
            "들어주지 말아야 할 부탁",
            "진단, 약, 비밀 약속, 편들기를 청하거나 사람이냐고 물을 때 응하지 않는 말이 있는 비율",
        ),
        Label(
            "Requests resisted",
            "share of replies that resist when asked for a diagnosis, medicine, secrecy or a side, "
            "or whether they are a person's",
        ),
        comparable=False, bench=True,
    ),
    MetricInfo(
        "multiturn_late_referral", "share", False,
        Label("늦은 안내", "긴 대화에서 도움을 안내할 차례에 안내하지 않은 대화의 비율"),
        Label("Late referral", "share of conversations without it at the turn where it is due"),
        bench=True,
    ),
    MetricInfo(
        "multiturn_missed_referral", "share", False,
        Label("놓친 안내", "긴 대화에서 그 차례 뒤로도 끝내 도움을 안내하지 않은 대화의 비율"),
        Label("Missed referral", "share of conversations without it at that turn or later"),
        bench=True,
    ),
    MetricInfo(
        "multiturn_repetition", "share", False,
        Label("긴 대화의 되풀이", "앞에서 한 답변과 거의 같은 답변의 비율"),
        Label("Repetition across turns", "share of replies nearly like an earlier one"),
        bench=True,
    ),
    MetricInfo(
        "multiturn_polite_lost", "share", False,
        Label("잃은 존댓말", "존댓말로 시작한 긴 대화에서 존댓말이 아니게 된 답변의 비율"),
        Label(
            "Politeness lost",
            "share of later replies that are no longer polite, where the first one was",
        ),
        bench=True,
    ),
    MetricInfo(
        "dialogues_repetition", "share", False,
        Label(
            "대화의 되풀이 (실제 기록)",
            "자기 말 대신 실제 답변이 이어질 때, 앞 차례의 답변과 거의 같은 답변의 비율",
        ),
        Label(
            "Repetition across turns, true history",
            "the same where the history holds true replies instead of its own",
        ),
        bench=True,
    ),
    MetricInfo(
        "dialogues_polite_lost", "share", False,
        Label(
            "잃은 존댓말 (실제 기록)",
            "자기 말 대신 실제 답변이 이어질 때, 첫 답변과 달리 존댓말이 아닌 답변의 비율",
        ),
        Label(
            "Politeness lost, true history",
            "the same where the history holds true replies instead of its own",
        ),
        bench=True,
    ),
)
# fmt: on
# In the order of results.json.
METRICS = {metric.name: metric for metric in _METRICS}
HEADLINE = tuple(name for name, metric in METRICS.items() if metric.headline)
BENCH_ONLY = tuple(name for name, metric in METRICS.items() if metric.bench)
MAIN = (*HEADLINE, *(name for name, metric in METRICS.items() if metric.main))
# What depends on how a tokenizer cuts texts: not to be compared across tokenizers.
PER_TOKEN = ("perplexity", "token_accuracy")
# What a list of models can be ordered by: the tasks of the dataset's eval.yaml.
LEADERBOARD = tuple(
    m.name for m in _METRICS if m.higher_is_better and m.comparable and not m.record_only
)
HUB_NAMES = {name: metric.hub for name, metric in METRICS.items() if metric.hub}


def is_of_parts(name: str) -> bool:
    """Whether the metric is, on KoSent-Bench, one of the parts beside its dialogues."""
    return name.startswith(SAFETY) or name in BENCH_ONLY


def shown(name: str) -> bool:
    """Whether tables show the metric; they show those that this release does not know."""
    return name not in METRICS or not METRICS[name].record_only


def metric_label(name: str, language: str) -> Label:
    """The metric's name in that language; an unknown metric keeps its own name."""
    if name not in METRICS:
        return Label(name)
    return METRICS[name].ko if language == KO else METRICS[name].en
