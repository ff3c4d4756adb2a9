"""The card of a run folder: read from its records, written or shown beside them."""

from __future__ import annotations

import sys
from pathlib import Path

from model_card.conversations import CONVERSATIONS_PATH
from model_card.facts import Facts, gather_folder
from model_card.preview.server import Card, Source, files_version, read_below
from model_card.publish import README, kept_edits, plots
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write, decode_text
from model_card.records import EVAL_FOLDER, LOG_HISTORY_PATH, RUN_PATH, dumps, eval_path
from model_card.render.card import render_facts
from model_card.repo import readme_of


def folder_facts(folder: Path) -> Facts:
    """The facts in a run folder; raises KoSentError if it has neither a run nor an evaluation."""
    facts = gather_folder(folder)
    if facts.run is None and not facts.results:
        raise KoSentError(
            folder,
            f"neither {RUN_PATH} nor {EVAL_FOLDER}/*.json in it",
            "give the output folder of a training run",
        )
    return facts


def write_card(
    folder: Path, output: Path | None, language: str | None, *, replace_edits: bool = False
) -> Path:
    """The path of the README, written with its pictures beside it.

    A README that is there already keeps its own text, and what was changed inside our sections
    (shown on stderr) unless `replace_edits`.
    """
    facts = folder_facts(folder)
    path = output or folder / README
    existing = read_card(path)
    text = render_facts(
        facts, repo_id=None, language=language, existing=existing, replace_edits=replace_edits
    )
    if not replace_edits and (diff := kept_edits(facts, None, language, existing)):
        print(diff, file=sys.stderr)
        print(
            f"{path}: kept what was changed by hand inside our sections (above); "
            "--replace-edits puts the records' text back",
            file=sys.stderr,
        )
    for name, png in plots(facts).items():
        atomic_write(path.parent / name, png)
    atomic_write(path, text.encode())
    return path


def read_card(path: Path) -> str | None:
    """The README's text with its own line ends, None if there is none."""
    return decode_text(path.read_bytes(), path) if path.exists() else None


def record_files(folder: Path) -> dict[str, Path | bytes]:
    """The records of a run folder by their path in a repo, and its README as a draft."""
    facts = folder_facts(folder)
    known = [RUN_PATH, LOG_HISTORY_PATH, CONVERSATIONS_PATH, README]
    files: dict[str, Path | bytes] = {p: folder / p for p in known if (folder / p).is_file()}
    return files | {eval_path(results): dumps(results).encode() for results in facts.results}


def preview_source(folder: Path, language: str | None, repo_id: str | None) -> Source:
    """The card of a run folder for the preview, beside the README of `repo_id` or the folder's."""
    folder_facts(folder)

    def build() -> Card:
        facts = folder_facts(folder)
        here = read_card(folder / README)
        there = readme_of(repo_id) if repo_id is not None else here
        drawn = plots(facts)
        return Card(
            title=repo_id or folder.resolve().name,
            text=render_facts(
                facts, repo_id=repo_id, language=language, existing=there if repo_id else here
            ),
            other=there,
            other_name=f"README.md of {repo_id} now" if repo_id else "README.md in the folder",
            read=lambda path: drawn.get(path) or read_below(folder, path),
        )

    return Source(build, lambda: files_version(folder))
