"""Names of metrics, reference points and emotions, in both languages, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

KO, EN = "ko", "en"
LANGUAGES = (KO, EN)

# name: Korean label, what it says; English label, what it says.
METRICS = {
    "bleu": (
        "BLEU",
        "실제 답변과 낱말 묶음이 얼마나 겹치는지 (형태소 단위)",
        "BLEU",
        "overlap of word sequences with the true reply (morphemes)",
    ),
    "chrf": (
        "chrF++",
        "실제 답변과 글자·낱말이 얼마나 겹치는지",
        "chrF++",
        "overlap of characters and words with the true reply",
    ),
    "sentence_bleu": (
        "문장 BLEU",
        "답변마다 BLEU를 매겨 평균한 값",
        "Sentence BLEU",
        "BLEU of each reply, averaged",
    ),
    "rouge_l": (
        "ROUGE-L",
        "실제 답변과 같은 순서로 나온 가장 긴 낱말 열",
        "ROUGE-L",
        "longest common word sequence with the true reply",
    ),
    "cosine_similarity": (
        "코사인 유사도",
        "실제 답변과 뜻이 얼마나 가까운지 (문장 임베딩)",
        "Cosine similarity",
        "closeness in meaning to the true reply (sentence embeddings)",
    ),
    "perplexity": (
        "퍼플렉서티",
        "실제 답변을 얼마나 뜻밖으로 여기는지",
        "Perplexity",
        "how surprising the true reply is to the model",
    ),
    "token_accuracy": (
        "토큰 정확도",
        "실제 답변의 다음 토큰을 맞힌 비율",
        "Token accuracy",
        "share of the true reply's tokens predicted right",
    ),
    "distinct_1": (
        "Distinct-1",
        "서로 다른 낱말의 비율 (높을수록 다양)",
        "Distinct-1",
        "share of words that differ (higher: more varied)",
    ),
    "distinct_2": (
        "Distinct-2",
        "서로 다른 두 낱말 묶음의 비율",
        "Distinct-2",
        "share of word pairs that differ",
    ),
    "length_ratio": (
        "길이 비",
        "실제 답변 대비 길이 (1이 같은 길이)",
        "Length ratio",
        "length against the true reply (1: the same)",
    ),
    "empty_rate": (
        "빈 답변",
        "아무 말도 하지 않은 비율",
        "Empty replies",
        "share of empty replies",
    ),
    "repetition_rate": (
        "반복",
        "같은 말을 되풀이한 답변의 비율",
        "Repetition",
        "share of replies that repeat themselves",
    ),
    "hangul_ratio": (
        "한글 비율",
        "글자 가운데 한글의 비율",
        "Hangul ratio",
        "share of letters that are Hangul",
    ),
    "polite_ratio": (
        "존댓말 비율",
        "존댓말로 끝난 문장의 비율",
        "Polite endings",
        "share of sentences in polite speech",
    ),
    "safety_crisis_referral": (
        "위기의 말에 도움을 안내",
        "위기를 말하는 글에 상담전화나 전문가를 알려 준 비율",
        "Help offered in a crisis",
        "share of replies to crisis messages that point to a help line or a professional",
    ),
    "safety_harmless_referral": (
        "일상의 말에 도움을 안내",
        "비슷해 보이지만 위기가 아닌 글에 상담전화나 전문가를 알려 준 비율",
        "Help offered where none is needed",
        "share of replies to look-alike harmless messages that do so",
    ),
}
# What the Hub calls those metrics that it knows.
HUB_METRICS = {
    "bleu": "bleu",
    "chrf": "chrf",
    "rouge_l": "rouge",
    "perplexity": "perplexity",
    "token_accuracy": "accuracy",
}
HEADLINE = ("bleu", "chrf", "cosine_similarity")
MAIN = (*HEADLINE, "sentence_bleu", "rouge_l", "perplexity", "token_accuracy")

REFERENCES = {
    "shuffled": (
        "뒤섞은 답변",
        "다른 대화의 실제 답변을 붙였을 때",
        "Shuffled replies",
        "true replies of other conversations",
    ),
    "copy_user": (
        "따라 말하기",
        "사용자의 말을 그대로 되풀이했을 때",
        "Copying the user",
        "the user's own words repeated",
    ),
}

EMOTIONS_EN = {
    "기쁨": "Joy",
    "당황": "Embarrassment",
    "분노": "Anger",
    "불안": "Anxiety",
    "상처": "Hurt",
    "슬픔": "Sadness",
}


@dataclass(frozen=True)
class Label:
    """A name for people, and what it means ("" when we do not know)."""

    text: str
    meaning: str = ""


def metric_label(name: str, language: str) -> Label:
    """The metric's name in that language; an unknown metric keeps its own name."""
    return _label(METRICS, name, language)


def reference_label(name: str, language: str) -> Label:
    """The reference point's name in that language."""
    return _label(REFERENCES, name, language)


def _label(table: dict[str, tuple[str, str, str, str]], name: str, language: str) -> Label:
    if name not in table:
        return Label(name)
    ko, ko_meaning, en, en_meaning = table[name]
    return Label(ko, ko_meaning) if language == KO else Label(en, en_meaning)


def emotion_label(name: str, language: str) -> str:
    """The major emotion's name in that language."""
    return name if language == KO else EMOTIONS_EN.get(name, name)
