"""How often a yes or no about a text agrees with people's labels of such texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kosent_hub import metrics
from model_card.publishing.errors import KoSentError

COLUMNS = "write 1 or 0, a tab and a text, in UTF-8; \\n in a text stands for a line break"


@dataclass(frozen=True)
class Labelled:
    """A text and the answer that a person gave for it; `line` counts from 1."""

    line: int
    label: bool
    text: str


@dataclass(frozen=True)
class Share:
    """`right` of `of` cases, with the exact 95 % interval; `value` is None of no case."""

    right: int
    of: int
    value: float | None
    interval: tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """Precision (of the texts found, those labelled 1), recall (the reverse), and the errors."""

    cases: int
    precision: Share
    recall: Share
    wrong: tuple[Labelled, ...]


def read(file: Path) -> list[Labelled]:
    """The labelled texts of a TSV file without a header; blank lines are left out.

    Raises KoSentError, which names the line, where one is not a label, a tab and a text.
    """
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise KoSentError(
            file, error.strerror or str(error), "name a file that can be read"
        ) from None
    found = [_labelled(file, i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise KoSentError(file, "no texts", COLUMNS)
    return found


def agreement(cases: list[Labelled], answer: Callable[[str], bool]) -> Agreement:
    """Precision and recall of `answer` on these texts."""
    found = [answer(case.text) for case in cases]
    both = sum(case.label and yes for case, yes in zip(cases, found, strict=True))
    return Agreement(
        len(cases),
        share(both, sum(found)),
        share(both, sum(case.label for case in cases)),
        tuple(case for case, yes in zip(cases, found, strict=True) if case.label != yes),
    )


def share(right: int, of: int) -> Share:
    """`right / of` with its interval, 0 to 1 of no case."""
    low, high = metrics.clopper_pearson(right, of) or (0.0, 1.0)
    return Share(right, of, right / of if of else None, (low, high))


def _labelled(file: Path, number: int, line: bytes) -> Labelled:
    where = f"{file}, line {number}"
    try:
        label, *texts = line.decode().rstrip("\r").split("\t")
    except UnicodeDecodeError:
        raise KoSentError(where, "not UTF-8", COLUMNS) from None
    if label not in ("0", "1"):
        raise KoSentError(where, f"the first column is {label[:40]!r}, not 1 or 0", COLUMNS)
    if len(texts) != 1:
        raise KoSentError(where, f"{1 + len(texts)} columns instead of 2", COLUMNS)
    return Labelled(number, label == "1", texts[0].replace("\\n", "\n"))
