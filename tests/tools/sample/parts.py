"""The written parts of the sample corpus, read from `parts/` and checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model_card.publishing.errors import KoSentError

FOLDER = Path(__file__).parent / "parts"
HAPPY = "기쁨"
# Of the stories in one file, in order, every sixth is told in the test file only.
TEST_EVERY, TEST_AT = 6, 3


@dataclass(frozen=True)
class Emotion:
    """One of AI Hub's emotions, and how user and chatbot word it."""

    major: str
    minor: str
    pred: list[str]
    feel: list[str]
    emp: list[str]
    mind: str


@dataclass(frozen=True)
class Exchange:
    """A user's line and the chatbot's answer to it, after the chatbot's question `ask`."""

    ask: str
    say: str
    echo: str


@dataclass(frozen=True)
class Story:
    """One concrete situation and everything that may be said about it."""

    id: str
    situation: str
    split: str
    tone: str
    ages: list[str]
    gender: str | None
    disease: str | None
    emotions: list[Emotion]
    open: list[str]
    why: list[str]
    fact: list[str]
    talk: list[Exchange]
    plan: list[Exchange]


def load_replies() -> dict[str, dict[str, list[str]]]:
    """The chatbot's general sentences: tone -> next, comfort, close."""
    return _read(FOLDER / "replies.yaml")


def load_stories() -> list[Story]:
    """All stories, in the order of their files; raises KoSentError for a part that is amiss."""
    emotions = _load_emotions()
    stories = []
    for path in sorted((FOLDER / "stories").glob("*.yaml")):
        page = _read(path)
        for index, raw in enumerate(page["stories"]):
            split = "test" if index % TEST_EVERY == TEST_AT else "train"
            stories.append(_story(path, page["situation"], split, raw, emotions))
    twice = [name for name, n in Counter(story.id for story in stories).items() if n > 1]
    if twice:
        raise KoSentError(
            f"{FOLDER.name}/stories", f"story id {twice[0]} is used twice", "rename one"
        )
    return stories


def _load_emotions() -> dict[str, Emotion]:
    """Emotions by `major/minor`, and by `minor` alone where that is unambiguous."""
    every = [
        Emotion(major, minor, **words)
        for major, minors in _read(FOLDER / "emotions.yaml").items()
        for minor, words in minors.items()
    ]
    shared = Counter(emotion.minor for emotion in every)
    by_name = {f"{emotion.major}/{emotion.minor}": emotion for emotion in every}
    return by_name | {emotion.minor: emotion for emotion in every if shared[emotion.minor] == 1}


def _story(
    path: Path, situation: str, split: str, raw: dict[str, Any], emotions: dict[str, Emotion]
) -> Story:
    where = f"{path.name}, story {raw.get('id', '?')}"
    unknown = [name for name in raw["emotions"] if name not in emotions]
    if unknown:
        raise KoSentError(
            where, f"no emotion {unknown[0]}", "write major/minor as in emotions.yaml"
        )
    felt = [emotions[name] for name in raw["emotions"]]
    glad = {emotion.major == HAPPY for emotion in felt}
    if len(glad) != 1:
        raise KoSentError(where, f"{HAPPY} and other emotions in one story", "split the story")
    talk = [_exchange(where, ask, line) for ask, lines in raw["talk"].items() for line in lines]
    return Story(
        id=raw["id"],
        situation=situation,
        split=split,
        tone=raw.get("tone", "happy" if glad.pop() else "unhappy"),
        ages=raw["ages"],
        gender=raw.get("gender"),
        disease=raw.get("disease"),
        emotions=felt,
        open=raw["open"],
        why=raw["why"],
        fact=raw["fact"],
        talk=talk,
        plan=[_exchange(where, "", line) for line in raw["plan"]],
    )


def _exchange(where: str, ask: str, line: str) -> Exchange:
    said = line.split(" | ")
    if len(said) != 2:
        raise KoSentError(where, f"write `user | chatbot`, not {line!r}")
    return Exchange(ask, *said)


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
