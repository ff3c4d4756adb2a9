"""Korean and odd texts of ours, by which two tokenizers are told apart."""

from __future__ import annotations

import random
import unicodedata

from kosent_hub.models.weights.probes import SENTENCES

COUNT = 1000
_PIECES = (
    " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000", "\u200b", "\u200d",
    "ㅋㅋㅋㅋ", "ㅠㅠ", "ㅇㅇ", "...", "…", "!!", "?!", "~", "^^", "♥", "😢", "👨‍👩‍👧", "🇰🇷",
    "½", "①", "Ａ１", "ﬁ", "é", "e\u0301", "ß", "漢字", "かな", "שלום", "عربي",
    "\ufeff", "\x07", "\u2028", "0", "7", "42", "1,000", "3.14", "2026-11-29", "don't", "C++",
    "x_1", "a/b", "<b>", "&amp;", "{{ x }}", "[INST]", "<0x0A>", "▁", "Ġ", "##", "\\n", "`code`",
    "http://a.kr/?q=가", "@가나다", "#우울",
)  # fmt: skip


def odd_texts(count: int = COUNT) -> list[str]:
    """`count` texts, the same ones each time: whole sentences, then drawn from all of Unicode that
    people type, Hangul above all."""
    draw = random.Random(0)
    found = list(SENTENCES)
    while len(found) < count:
        parts = [_part(draw) for _ in range(draw.randint(1, 12))]
        text = "".join(parts)
        found.append(unicodedata.normalize("NFD", text) if draw.random() < 0.1 else text)
    return found[:count]


def _part(draw: random.Random) -> str:
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(_PIECES)
    if kind == 1:  # syllables, most of them in no word
        return "".join(chr(draw.randrange(0xAC00, 0xD7A4)) for _ in range(draw.randint(1, 6)))
    if kind == 2:
        return "".join(draw.choice("abcxyzABC012 .,") for _ in range(draw.randint(1, 8)))
    words = draw.choice(SENTENCES).split()
    return draw.choice(["", " "]) + " ".join(draw.sample(words, draw.randint(1, len(words))))
