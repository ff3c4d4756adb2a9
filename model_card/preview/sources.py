"""What a preview shows: the card of a run folder, or that of a repo on the Hub."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from model_card.facts import Facts, gather
from model_card.preview.server import Preview, PreviewSource, files_version, read_below
from model_card.publish import README, plots
from model_card.render.card import render_facts
from model_card.repo import readme_at, readme_of, repo_head
from model_card.run_folder import folder_facts, read_card


def folder_source(folder: Path, language: str | None, repo_id: str | None) -> PreviewSource:
    """The card of a run folder, compared with the README of `repo_id` or else the folder's.

    Raises KoSentError, now and at every build, for a folder without records.
    """
    folder_facts(folder)

    def build() -> Preview:
        facts = folder_facts(folder)
        other = readme_of(repo_id) if repo_id is not None else read_card(folder / README)
        return Preview(
            title=repo_id or folder.resolve().name,
            text=render_facts(facts, repo_id=repo_id, language=language, existing=other),
            other=other,
            other_name=f"README.md of {repo_id} now" if repo_id else "README.md in the folder",
            read=_with_plots(facts, lambda path: read_below(folder, path)),
        )

    return PreviewSource(build, lambda: files_version(folder))


def repo_source(repo_id: str, language: str | None) -> PreviewSource:
    """The card of a repo, made from its records; without any, its README as it is."""
    head = repo_head(repo_id)
    facts = gather(head.paths(), head.read, repo_id)
    other = readme_at(head)
    read = cache(head.read)

    def build() -> Preview:
        text = other or ""
        if facts.recorded:
            text = render_facts(facts, repo_id=repo_id, language=language, existing=other)
        return Preview(
            title=repo_id,
            text=text,
            other=other,
            other_name=f"README.md of {repo_id} now",
            read=_with_plots(facts, read),
        )

    return PreviewSource(build, lambda: files_version(None))


def _with_plots(facts: Facts, read: Callable[[str], bytes | None]) -> Callable[[str], bytes | None]:
    """`read`, but for the card's pictures, which are drawn from the facts."""
    drawn = plots(facts)
    return lambda path: drawn.get(path) or read(path)
