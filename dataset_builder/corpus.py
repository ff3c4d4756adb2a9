"""SOURCE -> splits: one source is chosen for each split and read; no dialogue is in two splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from . import chat, columns, editions, splits
from .losses import Findings, Notes
from .options import CorpusOptions
from .sources import HIDDEN, File, Left, SourceError, legible, sha256, unreadable, walk

# A package of recordings has thousands of files in one folder.
MAX_NAMED = 20
# Of what may be the missing Validation.
MOST_LIKE = 3
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
    chosen, left = choose(source, options.prefer, findings, leave_out)
    found = dict(_read(chosen, options, findings))
    train, validation, test = (found.get(split) for split in SPLITS)
    assert train is not None
    if not options.as_is:
        names = [one.name for one in chosen["train"]]
        others = {"in_test": test, "in_validation": validation}
        train = splits.remove_leaks(train, others, _notes(train.table, names, findings))
    if not len(train):
        first = findings.dropped.first()
        raise SourceError(
            source,
            f"no training dialogue is left of {findings.utterances['read']} utterances"
            + (f" ({first})" if first else ""),
            "see what was dropped with --as-is, or give another SOURCE",
        )
    if validation is None:
        train, validation = splits.carve(train, options.fraction, options.seed)
    if options.fraction and validation is None:
        findings.notes.append("no group of dialogues is small enough for a validation split")
    each = {"train": train, "validation": validation, "test": test}
    if test is None:
        findings.notes.append(_no_test(left))
    parts = {split: part for split, part in each.items() if part is not None and len(part)}
    findings.utterances["kept"] = sum(2 * int(part.turns.sum()) for part in parts.values())
    return Corpus(parts, findings)


def choose(
    source: Path, prefer: str | None, findings: Findings, leave_out: Path | None = None
) -> tuple[dict[str, list[editions.Source]], list[Left]]:
    """The sources of train and, if there are any, of test; and what is left, which is noted too.

    A split has several sources only if they are sheets of one workbook.
    """
    recognised: dict[str | None, list[list[editions.Source]]] = {}
    left: list[Left] = []
    disks: dict[Path, None] = {}
    for file in walk(source, leave_out):
        found = [file] if isinstance(file, Left) else _recognised(file)
        left += [one for one in found if isinstance(one, Left)]
        sources = [one for one in found if not isinstance(one, Left)]
        if source.is_file():
            sources = [_without_own_name(one) for one in sources]
        for group in _grouped(sources):
            _add(group, recognised.setdefault(group[0].split, []), prefer)
    by_split = _by_split(recognised, left)
    if "train" not in by_split:
        raise _no_training(source, by_split.get("test"), left)
    chosen: dict[str, list[editions.Source]] = {}
    for split, (first, *others) in by_split.items():
        _refuse_ambiguous(split, first, others, prefer)
        first[0].file.refuse_large()
        chosen[split] = first
        why = f"{split} is read from {first[0].file.name}"
        left += [Left(one.name, why) for other in others for one in other]
        disks[first[0].file.disk] = None
    findings.left += [{"file": one.name, "why": one.why} for one in left]
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
    return chosen, left


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


def _recognised(file: File) -> list[editions.Source | Left]:
    try:
        return editions.recognise(file)
    except SourceError as error:
        return [Left.because(error, file.name)]
    except OSError as error:
        return [Left.because(unreadable(file, error), file.name)]


def _without_own_name(one: editions.Source) -> editions.Source:
    """The source with the split that its path below SOURCE says, which is a file."""
    _, _, inside = one.name.partition("/")
    return replace(one, split=editions.split_of(inside))


def _grouped(sources: list[editions.Source]) -> list[list[editions.Source]]:
    """The sources of one file, those of one split and edition together."""
    groups: dict[tuple[str | None, str], list[editions.Source]] = {}
    for one in sources:
        groups.setdefault((one.split, one.edition.name), []).append(one)
    return list(groups.values())


def _add(
    found: list[editions.Source], candidates: list[list[editions.Source]], prefer: str | None
) -> None:
    """Add a candidate for a split, the best of them first.

    Only the best keeps its sheets, so that the workbooks of a large package are not all in memory.
    """
    candidates.append(found)
    if _rank(found[0], prefer) < _rank(candidates[0][0], prefer):
        candidates[0], candidates[-1] = found, candidates[0]
    if len(candidates) > 1:
        candidates[-1] = [replace(one, sheet=None) for one in candidates[-1]]


def _by_split(
    recognised: dict[str | None, list[list[editions.Source]]], left: list[Left]
) -> dict[str, list[list[editions.Source]]]:
    """Train and test candidates; those whose path says no split are train, if no others are."""
    unnamed = recognised.get(None, [])
    by_split = {split: candidates for split, candidates in recognised.items() if split}
    if unnamed and "train" not in by_split:
        by_split["train"] = unnamed
    else:
        why = "its path says neither Training nor Validation"
        left += [Left(one.name, why) for group in unnamed for one in group]
    return {split: by_split[split] for split in ("train", "test") if split in by_split}


def _no_training(
    source: Path, test: list[list[editions.Source]] | None, left: list[Left]
) -> SourceError:
    """What is wrong when nothing can be read as train."""
    unread = [one for one in left if one.error is not None]
    if test is not None:
        unread = [one for one in unread if editions.split_of(one.name) != "test"]
    for one in sorted(unread, key=lambda one: editions.split_of(one.name) != "train"):
        assert one.error is not None
        return one.error
    if test is not None:
        return SourceError(
            source,
            f"only a test split here ({test[0][0].name})",
            "give the folder that holds Training too; if this is Training, let its path say so, "
            "or give the file itself",
        )
    kinds = ", ".join(editions.CONTAINERS)
    looked = [f"{one.name}: {one.why}" for one in left if one.why != HIDDEN]
    seen = looked[0] if looked else f"no {kinds} or .zip of them"
    return SourceError(
        source,
        f"nothing here is the 감성 대화 말뭉치 ({seen})",
        'see README, "Getting the data"',
    )


def _no_test(left: list[Left]) -> str:
    """The note on the missing test split, with what looks like it but cannot be read."""
    note = "no Validation files here, so there is no test split"
    like = [
        one
        for one in left
        if editions.split_of(one.name if one.error else one.name.rpartition("/")[2]) == "test"
    ]
    if not like:
        return note
    more = f", and {len(like) - MOST_LIKE:,} more" if len(like) > MOST_LIKE else ""
    named = ", ".join(f"{one.name} ({one.why})" for one in like[:MOST_LIKE])
    return f"{note}; what may be it cannot be read: {named}{more}"


def _refuse_ambiguous(
    split: str,
    first: list[editions.Source],
    others: list[list[editions.Source]],
    prefer: str | None,
) -> None:
    """Raise SourceError if another file, with other content, ranks as high as the first."""
    rank = _rank(first[0], prefer)
    alike = [one[0].file for one in others if _rank(one[0], prefer) == rank]
    first_file = first[0].file
    if alike and len({hashlib.sha256(one.read()).digest() for one in [first_file, *alike]}) > 1:
        raise SourceError(
            split,
            f"{first_file.name} and {alike[0].name} could both be meant",
            "let one's name say Validation if it is that; join them if each is a part; "
            "else keep one in SOURCE, or name a part of its path with --prefer",
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
    chosen: dict[str, list[editions.Source]], options: CorpusOptions, findings: Findings
) -> Iterator[tuple[str, chat.Dialogues]]:
    for split, sources in chosen.items():
        raw, names = editions.read(sources), [one.name for one in sources]
        rows = np.bincount(columns.numbers(raw.table["part"]), minlength=len(sources))
        raws = _divided(raw, names, findings) if len(chosen) == 1 else {split: raw}
        for its_split, part in raws.items():
            notes = _notes(part.table, names, findings)
            yield its_split, chat.dialogues(part, its_split, options, notes)
        for source, count in zip(sources, rows.tolist(), strict=True):
            findings.read.append(
                {
                    "split": ", ".join(raws),
                    "file": source.name,
                    "edition": source.edition.name,
                    "container": source.container,
                    "codec": raw.codec,
                    "rows": count,
                }
            )


def _divided(raw: editions.Raw, names: list[str], findings: Findings) -> dict[str, editions.Raw]:
    """The rows of the only file by what its column `split` says, if that says train of any row."""
    said = columns.trimmed(raw.table["split"].combine_chunks())
    of = {value: editions.split_of(value) for value in said.unique().to_pylist() if value}
    if "train" not in of.values():
        return {"train": raw}
    held_out = {value: editions.is_validation(value) for value in of if of[value] == "test"}
    if len(set(held_out.values())) > 1:
        of |= {value: "validation" for value, it_is in held_out.items() if it_is}
    splits = np.array([of.get(value) or "" for value in said.to_pylist()])
    _notes(raw.table, names, findings).drop("no_split", splits == "")
    found: dict[str, editions.Raw] = {}
    for split in sorted(set(splits.tolist()) - {""}, key=SPLITS.index):
        table = raw.table.filter(columns.booleans(splits == split))
        found[split] = replace(raw, table=table, faults=[] if found else raw.faults)
    return found


def _notes(table: pa.Table, names: list[str], findings: Findings) -> Notes:
    return findings.about(names, columns.numbers(table["part"]), columns.numbers(table["line"]))
