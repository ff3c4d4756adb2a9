"""`kosent-data build`: SOURCE -> a dataset folder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import hold

from . import card, folder, provenance, splits
from .corpus import Corpus, Options, read_corpus
from .counts import count
from .losses import SCHEMA_VERSION
from .sources import SourceError


def build(
    source: Path,
    out: Path,
    options: Options | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The report of a dataset folder that now stands at `out`.

    Raises:
        KoSentError: nothing to read, something damaged, `out` taken or being written, no room, or
            with `strict` anything that had to be dropped or trimmed. Then `out` is as it was.
    """
    options = options or Options()
    with hold(out, "kosent-data build"):
        folder.recover(out)
        folder.check_free(out, overwrite)
        progress(f"Reading {source}")
        try:
            corpus = read_corpus(source, options, leave_out=out.resolve())
        except SourceError as error:
            raise KoSentError(error.where, error.what, error.remedy) from None
        if strict:
            _refuse_losses(corpus)
        progress(f"Writing {out}")
        with folder.replacing(out) as new:
            return _write(corpus, provenance.of(source), options, new, out)


def _write(
    corpus: Corpus, come_from: provenance.Origin, options: Options, new: Path, out: Path
) -> dict[str, Any]:
    rows = {split: part.to_table() for split, part in corpus.splits.items()}
    with ThreadPoolExecutor() as pool:
        writing = [
            pool.submit(folder.write_split, table, new / folder.data_path(split))
            for split, table in rows.items()
        ]
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "kosent_hub": version("kosent-hub"),
            "corpus": come_from.corpus,
            "license": come_from.license,
            "pretty_name": come_from.pretty_name,
            "options": {**asdict(options), "validation_fraction": options.fraction},
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
    existing = earlier.read_text(encoding="utf-8") if earlier.is_file() else None
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
            None, f"{first} ({lost} in all)", "mend the files, or build without --strict"
        )
