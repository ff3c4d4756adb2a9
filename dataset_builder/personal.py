"""Personal data in texts, by pattern: resident numbers, phone numbers, e-mail addresses, accounts.

A pattern finds what is written as such things are; names, addresses and what a number is called in
words are not looked for. Public numbers (109, 1577-0199, 1588-...) are not personal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import columns

# What stands in the place of each kind.
KINDS = {
    "resident_number": "[주민등록번호]",
    "phone": "[전화번호]",
    "email": "[이메일]",
    "account": "[계좌번호]",
}
# Without one of these no pattern matches; RE2 looks for them in a whole column at once.
_HINT = r"\p{Nd}|[@＠]|[공영]일"
_GAP = r"[-‐-―−－.·~\s]{0,3}"
_DATE = r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_SPOKEN = "[공영일이삼사오육칠팔구]"
_MOBILE = rf"(?:0|(?:\+|00)82{_GAP}0?)1[016789]{_GAP}\d{{3,4}}{_GAP}\d{{4}}"
_LANDLINE = (
    rf"\(?0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50\d)\)?[-‐-―−－.)\s]{_GAP}\d{{3,4}}{_GAP}\d{{4}}"
)
_SPOKEN_MOBILE = rf"[공영]일[공영일육칠팔구]{_GAP}{_SPOKEN}{{3,4}}{_GAP}{_SPOKEN}{{4}}"
_EMAIL = r"[a-z0-9._%+-]+\s?[@＠]\s?(?:[a-z0-9-]+\.)+[a-z]{2,}"
_PATTERNS = {
    "resident_number": re.compile(rf"(?<!\d){_DATE}{_GAP}[1-8]\d{{6}}(?!\d)"),
    "phone": re.compile(rf"(?<!\d)(?:{_MOBILE}|{_LANDLINE})(?!\d)|{_SPOKEN_MOBILE}"),
    "email": re.compile(_EMAIL, re.IGNORECASE | re.ASCII),
    "account": re.compile(r"(?<!\d)\d(?:[-‐-―−－ ]?\d){9,15}(?!\d)"),
}
# A long number is an account's beside one of these words, or a card's if its check digit fits.
_ACCOUNT_WORDS = re.compile(
    "계좌|입금|송금|이체|예금|은행|뱅크|통장|농협|수협|신협|우체국|새마을|국민|신한|우리|하나|기업|카뱅|토스"
)
_NEAR = 20  # characters before and after the number
# Full-width digits and plus, one character for one, so that places stay.
_NARROW = {0xFF10 + digit: str(digit) for digit in range(10)} | {ord("＋"): "+"}


def find(text: str) -> list[tuple[str, int, int]]:
    """(kind, begin, end) of each piece of personal data, in order and without overlap."""
    text = text.translate(_NARROW)
    found: list[tuple[str, int, int]] = []
    for kind in KINDS:
        for match in _PATTERNS[kind].finditer(text):
            begin, end = match.span()
            if any(begin < there_end and there < end for _, there, there_end in found):
                continue
            if kind != "account" or _is_account(text, begin, end):
                found.append((kind, begin, end))
    return sorted(found, key=lambda one: one[1])


def masked(text: str) -> str:
    """The text with each piece of personal data replaced by the name of its kind."""
    parts, at = [], 0
    for kind, begin, end in find(text):
        parts += [text[at:begin], KINDS[kind]]
        at = end
    return "".join(parts) + text[at:]


def occurrences(texts: pa.Array) -> Iterator[tuple[int, str]]:
    """(index, kind) of each piece of personal data in a column of texts without nulls."""
    for index in np.flatnonzero(_hinted(texts)).tolist():
        for kind, _, _ in find(texts[index].as_py()):
            yield index, kind


def mask(texts: pa.Array) -> tuple[pa.Array, dict[str, int]]:
    """The column of texts without personal data, and how many pieces of each kind there were."""
    counts = dict.fromkeys(KINDS, 0)
    places = []
    for index, kind in occurrences(texts):
        counts[kind] += 1
        places.append(index)
    if not places:
        return texts, counts
    which = np.zeros(len(texts), bool)
    which[places] = True
    cleaned = columns.texts([masked(texts[index].as_py()) for index in sorted(set(places))])
    return pc.replace_with_mask(texts, columns.booleans(which), cleaned), counts


def _hinted(texts: pa.Array) -> np.ndarray:
    return columns.mask(pc.match_substring_regex(texts, _HINT))


def _is_account(text: str, begin: int, end: int) -> bool:
    digits = [int(c) for c in text[begin:end] if c.isdecimal()]
    if len(digits) == 16 and _luhn(digits):
        return True
    around = text[max(0, begin - _NEAR) : begin] + " " + text[end : end + _NEAR]
    return len(digits) <= 14 and _ACCOUNT_WORDS.search(around) is not None


def _luhn(digits: list[int]) -> bool:
    doubled = [
        digit if place % 2 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)
    ]
    return sum(doubled) % 10 == 0
