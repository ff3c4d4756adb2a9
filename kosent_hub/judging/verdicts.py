"""What judges have said, as it lies in a folder of kosent-eval: `judgements/`.

`judgements/<judge>--<hash>/` holds a model's answers as they come and, once all are there,
`judgement.json`. `judgements/people/` holds a file of votes for each person. Both may hold text of
the dataset, or lead to it, and stay on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kosent_hub.judging import rubric
from kosent_hub.judging.reading import Pair, Stored
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.records import SCHEMA_VERSION, EvaluatedModel, Rubric, dumps, read

FOLDER, JUDGEMENT, PEOPLE = "judgements", "judgement.json", "people"
# A verdict: the first model is better, neither is, the second one is.
FIRST, TIE, SECOND = 1, 0, -1


@dataclass(frozen=True)
class About:
    """What was judged: the models by name, the folders' names, all replies, by which rubric."""

    names: list[str]
    folders: list[str]
    replies_sha256: str
    rubric: Rubric


@dataclass(frozen=True)
class Judged:
    """`judgement.json`: a model's verdicts on pairs and check set, and its ratings, as columns.

    `pairs` has `sample`, `first`, `second` (see `reading.Pair`), `ahead` and `behind`: the verdicts
    with the first model's reply shown first, and shown second; None for a failure. `ratings` has
    `sample`, `model` and the rubric's ratings, None for a failure. `check` has `id`, `ahead` and
    `behind`, of the better reply against the worse one.
    """

    about: About
    judge: str
    model: EvaluatedModel
    settings: dict[str, Any]
    limit: int | None
    pairs: dict[str, list[Any]]
    ratings: dict[str, list[Any]]
    check: dict[str, list[Any]]
    counts: dict[str, int]
    created: str
    versions: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def verdicts(self) -> Iterator[tuple[Pair, int | None, int | None]]:
        """Each pair with its two verdicts."""
        columns = ("sample", "first", "second", "ahead", "behind")
        for sample, first, second, ahead, behind in zip(
            *(self.pairs[name] for name in columns), strict=True
        ):
            yield Pair(sample, first, second), ahead, behind


@dataclass(frozen=True)
class Votes:
    """One person's votes on the pairs of a queue (`people.queue`), in its order: "1", "2" or "0".

    `rater` is the hash of a nickname, `queue` the text that the queue's order is drawn from.
    """

    about: About
    rater: str
    queue: str
    limit: int | None
    votes: list[str]
    schema_version: int = SCHEMA_VERSION


def about(stored: Stored) -> About:
    """What is judged here and now."""
    return About(
        names=list(stored.names),
        folders=[folder.resolve().name for folder in stored.folders],
        replies_sha256=stored.sha256,
        rubric=Rubric(rubric.VERSION, rubric.sha256()),
    )


def combined(ahead: int | None, behind: int | None) -> int | None:
    """The verdict of both orders: a tie where they disagree, None without both."""
    if ahead is None or behind is None:
        return None
    return ahead if ahead == behind else TIE


def place(folder: Path, name: str, digest: str) -> Path:
    """The folder of one judge's judgements, in a folder of kosent-eval."""
    slug = re.sub(r"[^\w.-]+", "--", name).strip("-.")
    return folder / FOLDER / f"{slug}--{digest[:8]}"


def votes_path(stored: Stored, rater: str, queue: str) -> Path:
    """The file of one person's votes."""
    name = f"{rater}--{queue}--{stored.sha256[:8]}.json"
    return stored.folders[0] / FOLDER / PEOPLE / name


def write(path: Path, found: Judged | Votes) -> None:
    """Write a judgement or votes; at any moment the file is the old one or the new one."""
    atomic_write(path, dumps(found).encode())


def read_votes(path: Path, stored: Stored) -> Votes:
    """The votes in a file; raises KoSentError for those of other replies or by another rubric."""
    found = read(Votes, path)
    assert_same(path, found.about, about(stored))
    return found


def read_all(stored: Stored) -> tuple[list[Judged], list[Votes]]:
    """What models and people have said of these replies.

    Judgements of other models in the same folders are passed over. Raises KoSentError for those of
    these models' replies of another run, or by another rubric.
    """
    now = about(stored)
    judged, votes = [], []
    for folder in stored.folders:
        for path in sorted((folder / FOLDER).glob(f"*/{JUDGEMENT}")):
            found = read(Judged, path)
            if _is_meant(found.about, now):
                assert_same(path, found.about, now)
                judged.append(found)
        for path in sorted((folder / FOLDER / PEOPLE).glob("*.json")):
            one = read(Votes, path)
            if _is_meant(one.about, now):
                assert_same(path, one.about, now)
                votes.append(one)
    return judged, votes


def _is_meant(one: About, now: About) -> bool:
    return (one.names, one.folders) == (now.names, now.folders)


def assert_same(path: Path, one: About, now: About) -> None:
    """Raise KoSentError if what lies at `path` is of other replies, or by another rubric."""
    if one.replies_sha256 != now.replies_sha256:
        what = "of the replies of another run"
    elif one.rubric != now.rubric:
        what = f"by another rubric (version {one.rubric.version}, {one.rubric.sha256[:8]})"
    else:
        return
    remedy = "move that file away" if path.parent.name == PEOPLE else "judge with --overwrite"
    raise KoSentError(path, what, remedy)
