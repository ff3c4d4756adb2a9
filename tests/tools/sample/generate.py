"""The sample corpus from its written parts: `python -m tests.tools.sample.generate`."""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from model_card.publishing.errors import KoSentError, run_command
from tests.support import ROOT
from tests.tools.sample.parts import Emotion, Story, load_replies, load_stories

FOLDER = ROOT / "dataset_builder" / "sample"
SEED = 86
DIALOGUES = {"train": 1200, "test": 240}
FILES = {"train": "Training/sample_Training.csv", "test": "Validation/sample_Validation.csv"}
COLUMNS = [
    *("", "연령", "성별", "상황키워드", "신체질환", "감정_대분류", "감정_소분류"),
    *("사람문장1", "시스템문장1", "사람문장2", "시스템문장2", "사람문장3", "시스템문장3"),
]
TURNS = [1] * 5 + [2] * 30 + [3] * 65  # in a hundred dialogues, about as in AI Hub's corpus
ILL = {"청소년": 1, "청년": 2, "중년": 4, "노년": 6}  # in ten personas of this age

T = TypeVar("T")


class Decks:
    """Decks of cards by key: each deals all its cards, shuffled, before any comes again."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._decks: dict[Hashable, Iterator[object]] = {}

    def draw(self, key: Hashable, cards: Sequence[T]) -> T:
        """The next card of the deck `key`, which is made of `cards` when first asked for."""
        if key not in self._decks:
            self._decks[key] = self._deal(list(cards))
        return next(self._decks[key])  # type: ignore[return-value]

    def _deal(self, cards: list[T]) -> Iterator[T]:
        while True:
            self._rng.shuffle(cards)
            yield from cards


def compose(split: str) -> list[list[str]]:
    """The rows of one split, in COLUMNS; the same rows at every call.

    Raises KoSentError where the parts cannot give a first line that no dialogue has yet.
    """
    rng = random.Random(f"{SEED} {split}")
    decks = Decks(rng)
    replies = load_replies()
    stories = [story for story in load_stories() if story.split == split]
    told: Counter[tuple[str, str]] = Counter()
    seen: set[str] = set()
    rows = []
    for number in range(DIALOGUES[split]):
        story = stories[number % len(stories)]
        emotion = min(
            rng.sample(story.emotions, len(story.emotions)), key=lambda e: told[e.major, e.minor]
        )
        told[emotion.major, emotion.minor] += 1
        turns = decks.draw("turns", TURNS)
        first, reason = _first_line(decks, story, emotion, seen)
        seen.add(first)
        lines = _dialogue(decks, replies[story.tone], story, emotion, turns, first, reason)
        persona = _persona(rng, story)
        rows.append([*persona, emotion.major, emotion.minor, *lines, *[""] * (6 - len(lines))])
    rng.shuffle(rows)
    return [[str(number), *row] for number, row in enumerate(rows)]


def _persona(rng: random.Random, story: Story) -> list[str]:
    age = rng.choice(story.ages)
    gender = story.gender or rng.choice(["남성", "여성"])
    ill = "만성질환 유" if rng.randrange(10) < ILL[age] else "만성질환 무"
    return [age, gender, story.situation, story.disease or ill]


def _first_line(
    decks: Decks, story: Story, emotion: Emotion, seen: set[str]
) -> tuple[str, str | None]:
    """A first line not in `seen`, and the reason it gives if it is of that form."""
    mood = (emotion.major, emotion.minor)
    for _ in range(100):
        form = decks.draw("form", ["open feel", "open feel", "feel open", "why pred", "why pred"])
        if form == "why pred":
            why = decks.draw((story.id, "why"), story.why)
            line = f"{why} {decks.draw((mood, 'pred'), emotion.pred)}."
        else:
            why = None
            opening = decks.draw((story.id, "open"), story.open)
            feel = decks.draw((mood, "feel"), emotion.feel)
            line = f"{opening} {feel}" if form == "open feel" else f"{emotion.feel[0]} {opening}"
        if line not in seen:
            return line, why
    raise KoSentError(f"story {story.id}", "too few openings for its dialogues", "write more")


def _dialogue(
    decks: Decks,
    replies: dict[str, list[str]],
    story: Story,
    emotion: Emotion,
    turns: int,
    first: str,
    reason: str | None,
) -> list[str]:
    """User and chatbot in turn: what happened, then how it is, then what the user will do."""

    def general(kind: str) -> str:
        return decks.draw((story.tone, kind), replies[kind]).format(mind=emotion.mind)

    answer = _empathy(decks, story, emotion, reason, brief=turns > 1)
    if turns == 1:
        return [first, f"{answer} {general('comfort')}"]
    lines = [first]
    if turns == 3 or decks.draw("second", ["talk", "talk", "plan"]) == "talk":
        talk = decks.draw((story.id, "talk"), story.talk)
        lines += [f"{answer} {talk.ask}", talk.say]
        answer = talk.echo
        if turns == 2:
            return [*lines, f"{answer} {general('comfort')}"]
    plan = decks.draw((story.id, "plan"), story.plan)
    pause = decks.draw("pause", ["", "", "", "음, "])
    lines += [f"{answer} {general('next')}", pause + plan.say]
    # Who sees no hope is never left without a word about where help is.
    closing = story.tone == "heavy" or decks.draw("closing", [True, True, False])
    return [*lines, f"{plan.echo} {general('close')}" if closing else plan.echo]


def _empathy(decks: Decks, story: Story, emotion: Emotion, reason: str | None, brief: bool) -> str:
    """The chatbot's answer to the first line, which `brief` may leave the feeling unnamed.

    It gives no reason in the user's own words, and no two sentences end in -군요.
    """
    form = decks.draw("empathy", ["fact emp", "fact emp", "why emp", "why emp", "fact"])
    mood = (emotion.major, emotion.minor)
    # To somebody without hope the chatbot names no reason that was not told.
    if form == "why emp" and story.tone != "heavy":
        others = [why for why in story.why if why != reason]
        why = decks.draw((story.id, "because", reason), others)
        return f"{why} {decks.draw((mood, 'emp'), emotion.emp)}."
    fact = decks.draw((story.id, "fact"), story.fact)
    if form == "fact" and brief:
        return fact
    varied = [emp for emp in emotion.emp if not (emp.endswith("군요") and fact.endswith("군요."))]
    return f"{fact} {decks.draw((mood, 'emp', len(varied)), varied)}."


def render(split: str) -> bytes:
    """The csv file of one split, as a Korean spreadsheet exports it: cp949, CRLF."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(compose(split))
    return text.getvalue().encode("cp949")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the two csv files, or compare them with what the parts give now."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.sample.generate")
    parser.add_argument("--check", action="store_true", help="compare only; write nothing")
    args = parser.parse_args(argv)
    return run_command(parser.prog, lambda: check(FOLDER) if args.check else write(FOLDER))


def write(folder: Path) -> None:
    """Write both csv files under `folder`."""
    for split, name in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(split))
        print(f"{name}: {DIALOGUES[split]} dialogues")
    print(f"written; next: kosent-data build {folder} OUT")


def check(folder: Path) -> None:
    """Raises KoSentError where a csv file under `folder` is not what the parts give."""
    for split, name in FILES.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != render(split):
            raise KoSentError(
                name, "not what the parts give", "run `python -m tests.tools.sample.generate`"
            )
        print(f"{name}: {DIALOGUES[split]} dialogues, as the parts give them")


if __name__ == "__main__":
    sys.exit(main())
