"""SOURCE -> splits: one source is chosen for each split and read; no dialogue is in two splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from . import chat, columns, editions, splits
from .losses import Findings
from .options import CorpusOptions
from .sources import SourceError, legible, sha256, walk

# A package of recordings has thousands of files in one folder.
MAX_NAMED = 20
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """The dialogues of each split, and the findings of reading them."""

    splits: dict[str, chat.Dialogues]
    findings: Findings


def read_corpus(source: Path, options: CorpusOptions, leave_out: Path | None = None) -> Corpus:
    """The corpus under `source`, without the folder `leave_out`.

    Raises:
        SourceError: nothing to read, something damaged, or a choice that is the user's to make.
    """
    if not 0 <= options.fraction < 1:
        raise SourceError(
            f"validation fraction {options.fraction}", "give a number from 0 up to, but not, 1"
        )
    findings = Findings()
    chosen = choose(source, options.prefer, findings, leave_out)
    found = dict(_read(chosen, options.system_prompt, findings))
    train, test = found["train"], found.get("test")
    if not options.as_is:
        lines = columns.numbers(train.table["line"])
        notes = findings.about(chosen["train"].file.name, lines)
        train = splits.remove_leaks(train, test, notes)
    if not len(train):
        first = findings.dropped.first()
        raise SourceError(
            source,
            f"no training dialogue is left of {findings.utterances['read']} utterances"
            + (f" ({first})" if first else ""),
            "see what was dropped with --as-is, or give another SOURCE",
        )
    train, validation = splits.carve(train, options.fraction, options.seed)
    if options.fraction and validation is None:
        findings.notes.append("no group of dialogues is small enough for a validation split")
    if test is None:
        findings.notes.append("no Validation files here, so there is no test split")
    each = {"train": train, "validation": validation, "test": test}
    parts = {split: part for split, part in each.items() if part is not None and len(part)}
    findings.utterances["kept"] = sum(2 * int(part.turns.sum()) for part in parts.values())
    return Corpus(parts, findings)


def choose(
    source: Path, prefer: str | None, findings: Findings, leave_out: Path | None = None
) -> dict[str, editions.Source]:
    """One source for train and, if there is any, one for test; the others are noted as left."""
    recognised: dict[str | None, list[editions.Source]] = {}
    disks: dict[Path, None] = {}
    for file in walk(source, leave_out):
        found = editions.recognise(file)
        if isinstance(found, str):
            findings.left.append({"file": file.name, "why": found})
        elif found is not None:
            _add(found, recognised.setdefault(found.split, []), prefer)
    if not recognised:
        looked = findings.left[0] if findings.left else None
        kinds = ", ".join(editions.CONTAINERS)
        seen = f"{looked['file']}: {looked['why']}" if looked else f"no {kinds} or .zip of them"
        raise SourceError(
            source,
            f"nothing here is the 감성 대화 말뭉치 ({seen})",
            'see README, "Getting the data"',
        )
    by_split = _by_split(recognised, editions.split_of(source.resolve().name), findings)
    chosen: dict[str, editions.Source] = {}
    for split, (first, *others) in by_split.items():
        _refuse_ambiguous(split, first, others, prefer)
        first.file.refuse_large()
        chosen[split] = first
        for other in others:
            why = f"{split} is read from {first.file.name}"
            findings.left.append({"file": other.file.name, "why": why})
        disks[first.file.disk] = None
    if "train" not in chosen:
        raise SourceError(
            source,
            f"only a test split here ({chosen['test'].file.name})",
            "give the folder that holds Training too",
        )
    findings.left[:] = _summed(findings.left)
    for disk in disks:
        name = disk.name if source.is_file() else disk.relative_to(source).as_posix()
        findings.inputs.append(
            {
                "file": legible(os.fsencode(name)),
                "bytes": disk.stat().st_size,
                "sha256": sha256(disk),
            }
        )
    return chosen


def _summed(left: list[dict[str, str]]) -> list[dict[str, str]]:
    """The files left, by name; over MAX_NAMED of one folder, left for one reason, as one entry."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in left:
        groups.setdefault((one["file"].rpartition("/")[0], one["why"]), []).append(one["file"])
    summed = []
    for (parent, why), files in groups.items():
        if len(files) > MAX_NAMED:
            files = [f"{parent or '.'} ({len(files):,} files)"]
        summed += [{"file": file, "why": why} for file in files]
    return sorted(summed, key=lambda one: one["file"])


def _add(found: editions.Source, candidates: list[editions.Source], prefer: str | None) -> None:
    """Add a candidate for a split, the best of them first.

    Only the best keeps its sheet, so that the workbooks of a large package are not all in memory.
    """
    candidates.append(found)
    if _rank(found, prefer) < _rank(candidates[0], prefer):
        candidates[0], candidates[-1] = found, candidates[0]
    if len(candidates) > 1:
        candidates[-1] = replace(candidates[-1], sheet=None)


def _by_split(
    recognised: dict[str | None, list[editions.Source]], fallback: str | None, findings: Findings
) -> dict[str, list[editions.Source]]:
    """Train and test candidates; if no path names a split, all are of `fallback`, else train."""
    unnamed = recognised.get(None, [])
    by_split = {split: candidates for split, candidates in recognised.items() if split}
    if not by_split:
        by_split[fallback or "train"] = unnamed
    else:
        for one in unnamed:
            why = "its path says neither Training nor Validation"
            findings.left.append({"file": one.file.name, "why": why})
    return {split: by_split[split] for split in ("train", "test") if split in by_split}


def _refuse_ambiguous(
    split: str, first: editions.Source, others: list[editions.Source], prefer: str | None
) -> None:
    """Raise SourceError if another file, with other content, ranks as high as the first."""
    rank = _rank(first, prefer)
    alike = [one for one in others if _rank(one, prefer) == rank]
    if alike and len({hashlib.sha256(one.file.read()).digest() for one in [first, *alike]}) > 1:
        raise SourceError(
            split,
            f"{first.file.name} and {alike[0].file.name} could both be meant",
            "keep one in SOURCE, or name a part of its path with --prefer",
        )


def _rank(one: editions.Source, prefer: str | None) -> tuple[bool, bool, int, int]:
    """The sort key of the sources of a split: the lowest is read."""
    return (
        not (prefer and _preferred(one, prefer)),
        editions.RAW in one.file.name,
        editions.EDITIONS.index(one.edition),
        list(editions.CONTAINERS.values()).index(one.container),
    )


def _preferred(one: editions.Source, prefer: str) -> bool:
    names = [edition.name for edition in editions.EDITIONS]
    if prefer in names or prefer in editions.CONTAINERS.values():
        return prefer in (one.edition.name, one.container)
    return prefer in one.file.name


def _read(
    chosen: dict[str, editions.Source], system_prompt: str, findings: Findings
) -> Iterator[tuple[str, chat.Dialogues]]:
    for split, source in chosen.items():
        raw, name = editions.read(source), source.file.name
        notes = findings.about(name, columns.numbers(raw.table["line"]))
        yield split, chat.dialogues(raw, split, system_prompt, notes)
        findings.read.append(
            {
                "split": split,
                "file": name,
                "edition": source.edition.name,
                "container": source.container,
                "codec": raw.codec,
                "rows": len(raw.table),
            }
        )
