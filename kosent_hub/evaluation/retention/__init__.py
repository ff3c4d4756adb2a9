"""Our own prose in Korean and English, to see what a model forgot of either in training."""

from __future__ import annotations

from importlib import resources

from kosent_hub.evaluation.samples import Sample

LANGUAGES = ("ko", "en")


def paragraphs(language: str) -> list[list[str]]:
    """The paragraphs of the text in one of `LANGUAGES`, each a list of its lines.

    A line has at most 500 bytes, so that it fits into 512 tokens of any tokenizer.
    """
    file = resources.files("kosent_hub") / "evaluation" / "retention" / f"{language}.txt"
    return [part.split("\n") for part in file.read_text("utf-8").strip().split("\n\n")]


def retention_samples() -> list[Sample]:
    """A sample without a prompt for each line; its dialogue's id is the language, its row the
    paragraph's."""
    parts = [(language, lines) for language in LANGUAGES for lines in paragraphs(language)]
    return [
        Sample(f"{language}#{row}.{number}", language, row, [], line)
        for row, (language, lines) in enumerate(parts)
        for number, line in enumerate(lines)
    ]
