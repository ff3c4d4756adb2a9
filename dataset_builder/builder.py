"""`build`: AI Hub's files -> a dataset folder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text, exclusive

from . import card, folder, provenance, splits
from .corpus import Corpus, read_corpus
from .counts import count
from .losses import SCHEMA_VERSION
from .options import BuildOptions, CorpusOptions
from .sources import SourceError


def build(
    options: BuildOptions, *, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Build the dataset folder `options.out`; returns its report.json.

    Raises:
        KoSentError: nothing to read, something damaged, `out` taken or being written, a full disk,
            or with `strict` anything that had to be dropped or trimmed. Then `out` is as it was.
    """
    source, out = Path(options.source), Path(options.out)
    _refuse_patterns(out)
    with exclusive(out, "kosent-data build"):
        folder.recover(out)
        folder.check_free(out, options.overwrite)
        progress(f"Reading {source}")
        try:
            corpus = read_corpus(source, options, leave_out=out.resolve())
        except SourceError as error:
            raise KoSentError(error.where, error.what, error.remedy) from None
        if options.strict:
            _refuse_losses(corpus)
        progress(f"Writing {out}")
        with folder.replacing(out) as new:
            return _write(corpus, provenance.origin_of(source), options, new, out)


def _refuse_patterns(out: Path) -> None:
    """Raise KoSentError if `load_dataset` would take the path for a pattern, or for a URL."""
    met = [mark for mark in ("[", "]", "*", "?", "::") if mark in str(out.resolve())]
    if met:
        raise KoSentError(
            out.resolve(), f"load_dataset opens no path with {' '.join(met)}", "name another folder"
        )


def _write(
    corpus: Corpus, origin: provenance.Origin, options: CorpusOptions, new: Path, out: Path
) -> dict[str, Any]:
    """Write the dataset to the folder `new`; `out` is the one that it will replace."""
    rows = {split: part.to_table() for split, part in corpus.splits.items()}
    with ThreadPoolExecutor() as pool:
        writing = [
            pool.submit(folder.write_split, table, new / folder.data_path(split))
            for split, table in rows.items()
        ]
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "kosent_hub": version("kosent-hub"),
            "corpus": origin.corpus,
            "license": origin.license,
            "pretty_name": origin.pretty_name,
            "options": options.as_json(),
            **count(rows),
            **corpus.findings.as_json(),
            "repeated": {
                split: splits.repeated(part)
                for split, part in corpus.splits.items()
                if options.as_is or split == "test"  # the others have none left
            },
            "overlap": splits.overlaps(corpus.splits),
            "bytes_in_memory": {split: table.nbytes for split, table in rows.items()},
        }
        for one in writing:
            one.result()
    folder.write_eval(new)
    report["outputs"] = folder.hashes(new)
    earlier = out / folder.README
    existing = decode_text(earlier.read_bytes(), earlier) if earlier.is_file() else None
    text = card.render(report, existing=existing)
    (new / folder.README).write_text(text, encoding="utf-8")
    report["outputs"] = folder.hashes(new)
    folder.write_json(report, new / folder.REPORT)
    return report


def _refuse_losses(corpus: Corpus) -> None:
    findings = corpus.findings
    lost = findings.dropped.total() + findings.trimmed.total()
    first = findings.dropped.first() or findings.trimmed.first()
    if first is not None:
        raise KoSentError(
            None, f"{first} ({lost} in all)", "fix the files, or build without --strict"
        )
