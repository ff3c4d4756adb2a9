"""A run folder: its facts, its card written beside them, and what of it a repo gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model_card.conversations import CONVERSATIONS_PATH
from model_card.facts import Facts, gather_folder
from model_card.licenses import terms_files, trained_from
from model_card.publish import README, kept_edits, plots, show_kept_edits
from model_card.publishing.files import atomic_write, decode_text
from model_card.records import (
    LOG_HISTORY_PATH,
    RUN_PATH,
    bench_judgement_path,
    dumps,
    eval_path,
    judgements_path,
)
from model_card.render.card import render_facts


def folder_facts(folder: Path) -> Facts:
    """The facts in a run folder; raises KoSentError if it has neither a run nor an evaluation."""
    return gather_folder(folder).require(folder, "give the output folder of a training run")


def write_card(
    folder: Path, output: Path | None, language: str | None, *, replace_edits: bool = False
) -> tuple[Path, str]:
    """The path and the text of the README, written with its pictures beside it.

    A README that is there already keeps its own text, and what was changed inside our sections
    (shown on stderr) unless `replace_edits`. Licence files that the run folder lacks are added to
    it, wherever the README goes.
    """
    facts = folder_facts(folder)
    path = output or folder / README
    for name, data in _terms(facts).items():
        atomic_write(folder / name, data)
        facts = replace(facts, paths=facts.paths | {name})
    existing = read_card(path)
    text = render_facts(
        facts, repo_id=None, language=language, existing=existing, replace_edits=replace_edits
    )
    if not replace_edits:
        show_kept_edits(kept_edits(facts, None, language, existing), path)
    for name, png in plots(facts).items():
        atomic_write(path.parent / name, png)
    atomic_write(path, text.encode())
    return path, text


def _terms(facts: Facts) -> dict[str, bytes]:
    """The licence files that the folder lacks, as far as they need nothing of the base's repo."""
    if facts.run is None:
        return {}
    base = facts.run.base_model.id
    files = terms_files(facts.license, trained_from(base), base_model=base)
    return {name: data for name, data in files.items() if name not in facts.paths}


def read_card(path: Path) -> str | None:
    """The README's text with its own line ends, None if there is none."""
    return decode_text(path.read_bytes(), path) if path.exists() else None


def record_files(folder: Path) -> dict[str, Path | bytes]:
    """The records of a run folder by their path in a repo, and its README as a draft."""
    facts = folder_facts(folder)
    known = [RUN_PATH, LOG_HISTORY_PATH, CONVERSATIONS_PATH, README]
    files: dict[str, Path | bytes] = {p: folder / p for p in known if (folder / p).is_file()}
    files |= {eval_path(results): dumps(results).encode() for results in facts.results}
    files |= {judgements_path(found): dumps(found).encode() for found in facts.judgements}
    return files | {bench_judgement_path(f): dumps(f).encode() for f in facts.bench_judgements}
