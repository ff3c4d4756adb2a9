"""Our own prose in Korean and English, to see what a model forgot of either in training."""

from __future__ import annotations

from importlib import resources

from kosent_hub.evaluation.samples import Sample

LANGUAGES = ("ko", "en")


def paragraphs(language: str) -> list[str]:
    """The paragraphs of the text in one of `LANGUAGES`, without their line breaks."""
    file = resources.files("kosent_hub") / "evaluation" / "retention" / f"{language}.txt"
    return file.read_text("utf-8").strip().split("\n\n")


def retention_samples() -> list[Sample]:
    """A sample without a prompt for each paragraph; its dialogue's id is the language."""
    texts = [(language, text) for language in LANGUAGES for text in paragraphs(language)]
    return [
        Sample(f"{language}#{row}", language, row, [], text)
        for row, (language, text) in enumerate(texts)
    ]
