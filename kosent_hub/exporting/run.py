"""An export from top to bottom: merged or GGUF, Modelfile, scores, repo."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from kosent_hub.exporting import ollama
from kosent_hub.exporting.gguf import write_gguf
from kosent_hub.exporting.options import Options
from kosent_hub.exporting.push import check_repo, push_gguf, push_merged
from kosent_hub.exporting.read_back import Checks
from kosent_hub.exporting.scored import score
from kosent_hub.models.locate import ModelRef, locate
from kosent_hub.models.weights.merge import Change
from kosent_hub.models.weights.merged import write_merged
from kosent_hub.training.push import base_on_hub, fill_merged
from kosent_hub.training.run_folder import to_push
from model_card import records
from model_card.publishing import commit, session
from model_card.publishing.errors import next_step
from model_card.run_folder import write_card


@dataclass(frozen=True)
class Exported:
    """What an export wrote: its place and bytes, number format, what merging changed in logits,
    for a GGUF file what was read back and the command that makes a smaller one, and where the
    Modelfile, the scores and the repo are."""

    path: str
    kind: str
    bytes: int
    change: Change
    checks: Checks | None = None
    k_quant: str | None = None
    modelfile: str | None = None
    scores: records.Results | None = None
    url: str | None = None


def export(options: Options) -> Exported:
    """What was written, as the options say, from a finished run folder.

    Raises KoSentError for what the user can fix, and huggingface_hub's errors when the Hub refuses.
    """
    session.install()
    run = Path(options.run)
    to_push(run)  # refuses what is no finished run
    record = records.read(records.Run, run / records.RUN_PATH)
    if options.repo_id is not None:
        base_on_hub(run)
        check_repo(record, options.repo_id, gguf=options.gguf is not None)
        commit.writer(options.repo_id)  # a token is better missed now
    located = locate(ModelRef(str(run)))
    modelfile = None
    if options.merged is not None:
        path = Path(options.merged)
        merged = write_merged(
            located, path, lambda new: fill_merged(run, new), overwrite=options.overwrite
        )
        kind, checks = merged.dtype, None
    else:
        assert options.gguf is not None
        path, kind = Path(options.gguf), options.kind
        if options.ollama is not None:
            ollama.refuse_existing(Path(options.ollama) / ollama.NAME, overwrite=options.overwrite)
        merged, checks = write_gguf(located, run, record, path, kind, overwrite=options.overwrite)
        if options.ollama is not None:
            modelfile = ollama.write_modelfile(
                Path(options.ollama),
                path,
                located.form,
                record.system_prompt,
                overwrite=options.overwrite,
            )
    with next_step(_again(options)):
        scores = score(path, run, options.score) if options.score is not None else None
        if scores is not None and path.is_dir():
            write_card(path, None, None)
        url = None
        if options.repo_id is not None and path.is_dir():
            url = push_merged(path, options.repo_id, private=not options.public)
        elif options.repo_id is not None:
            found = [] if scores is None else [scores]
            url = push_gguf(path, run, options.repo_id, found, private=not options.public)
    return Exported(
        str(path),
        kind,
        _size(path),
        merged.change,
        checks,
        _k_quant(path, kind) if checks is not None else None,
        None if modelfile is None else str(modelfile),
        scores,
        url,
    )


def _again(options: Options) -> str:
    """What to do when scoring or pushing failed, and what was written is whole."""
    path = options.merged or options.gguf
    return f"run the same command with --overwrite; {shlex.quote(str(path))} is whole"


def _k_quant(path: Path, kind: str) -> str | None:
    """The command by which llama.cpp makes a K-quant of a GGUF file; None for a file that is
    quantised itself, which it refuses."""
    if kind == "q8_0":
        return None
    smaller = path.with_name(f"{path.stem}-Q4_K_M.gguf")
    return shlex.join(["llama-quantize", str(path), str(smaller), "Q4_K_M"])


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
