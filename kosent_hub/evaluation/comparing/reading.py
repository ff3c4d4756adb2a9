"""Output folders of kosent-eval -> evaluations of the same samples under the same settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.options import Options
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.publishing.markdown import plain
from model_card.records import SCHEMA_VERSION, Results, loads
from model_card.render.numbers import format_settings

# Settings in which compared evaluations may differ: those of the model, of how it is run, of its
# prompt, and of what is measured again here. All others must be the same.
MAY_DIFFER = {
    "revision", "baseline", "baseline_system_prompt", "few_shot", "dataset_revision", "safety",
    "backend", "engine_arg", "dtype", "chat_template", "new_chat_format", "seed", "primary_metric",
}  # fmt: skip
# Of how an engine is asked to reply, what is the model's own or what a server made of it.
MODELS_OWN = {"stop", "refused", "generation_config"}
# How many n-grams these are told of depends on the replies; they are measured again.
DISTINCT = "distinct_"
COLUMNS = ("sample_id", "row", "target", "prediction", "stop")
# Columns of scores that are not measured again.
SCORES = ("cosine_similarity", "bits_per_byte")
# All true replies of samples that have several.
SEVERAL = "targets"
AGAIN = "run its evaluation again (replies are kept)"


@dataclass(frozen=True)
class Evaluated:
    """One output folder: its record, and the columns of its samples."""

    folder: Path
    results: Results
    samples: dict[str, list[Any]]


def read(folders: Sequence[str | Path], also: Sequence[str] = ()) -> list[Evaluated]:
    """The evaluations in these output folders of kosent-eval, with the columns in `also` as well.

    Raises KoSentError for fewer than two folders, for a folder that is none or has too old a
    record, and where samples or settings differ.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise KoSentError(None, "fewer than two folders", "name two or more")
    seen: dict[Path, Path] = {}
    for path in paths:
        if (resolved := path.resolve()) in seen:
            raise KoSentError(path, f"given twice (it is {seen[resolved]})", "name it once")
        seen[resolved] = path
    found = [read_one(path, also) for path in paths]
    for other in found[1:]:
        _assert_same(found[0], other)
    return found


def names(found: Sequence[Evaluated]) -> list[str]:
    """A name for each model: its id, and for models of the same id what they differ in.

    That is a setting, else the name of the output folder, else its place among the given ones.
    """
    ids = [plain(e.results.model.id) for e in found]
    chosen = list(ids)
    for name in {name for name in ids if ids.count(name) > 1}:
        same = [i for i, other in enumerate(ids) if other == name]
        for details in (
            _settings_apart([found[i].results for i in same]),
            [found[i].folder.resolve().name for i in same],
            [str(i + 1) for i in same],
        ):
            if len(set(details)) == len(same):
                break
        for i, detail in zip(same, details, strict=True):
            chosen[i] = f"{name} ({plain(detail)})" if detail else name
    return chosen


def read_one(folder: Path, also: Sequence[str] = ()) -> Evaluated:
    """The evaluation in an output folder of kosent-eval, with the columns that a comparison needs
    and those named in `also`, as far as they are there.

    Raises KoSentError for a folder that is none or has too old a record.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    record, table = folder / "results.json", folder / "samples.parquet"
    if not record.is_file():
        raise KoSentError(folder, "no results.json there", "name an output folder of kosent-eval")
    text = decode_text(record.read_bytes(), record, AGAIN)
    results = loads(Results, text, str(record))
    # What is read of an older record has been brought up to the present schema.
    if json.loads(text)["schema_version"] != SCHEMA_VERSION or results.task_version is None:
        raise KoSentError(record, "written by an older kosent-eval", AGAIN)
    if not table.is_file():
        raise KoSentError(folder, "no samples.parquet there", AGAIN)
    try:
        there = pq.read_schema(table).names
        missing = [name for name in COLUMNS if name not in there]
        if missing:
            raise KoSentError(table, f"no column {missing[0]!r}", AGAIN)
        columns = [*COLUMNS, *(name for name in (*SCORES, SEVERAL, *also) if name in there)]
        samples = pq.read_table(table, columns=columns).to_pydict()
    except pa.ArrowInvalid:
        raise KoSentError(table, "not a whole Parquet file", AGAIN) from None
    if len(samples["target"]) != results.dataset.samples:
        raise KoSentError(
            table,
            f"{len(samples['target']):,} samples, but results.json has {results.dataset.samples:,}",
            AGAIN,
        )
    return Evaluated(folder, results, samples)


def _assert_same(one: Evaluated, other: Evaluated) -> None:
    """Raises KoSentError, naming what differs, unless samples and settings are the same."""
    for what, ours, theirs in _facts(one, other):
        if ours != theirs:
            raise KoSentError(
                f"{one.folder} and {other.folder}",
                f"{what} differs ({_written(ours)} and {_written(theirs)})",
                "only models on the same samples under the same settings are compared",
            )


def _facts(one: Evaluated, other: Evaluated) -> Iterator[tuple[str, Any, Any]]:
    """What must be the same in both: its name, and what it is in either."""
    a, b = one.results, other.results
    yield "split", a.dataset.split, b.dataset.split
    for name in sorted((a.settings.keys() | b.settings.keys()) - MAY_DIFFER):
        usual = getattr(Options, name, None)
        yield name, a.settings.get(name, usual), b.settings.get(name, usual)
    yield "dataset.sha256", a.dataset.sha256, b.dataset.sha256
    for name in ("sample_id", "row", "target"):
        if one.samples[name] != other.samples[name]:
            yield f"column {name!r} of samples.parquet", one.folder.name, other.folder.name
    yield "task_version", a.task_version, b.task_version
    for name in ("history", "normalization"):
        yield name, getattr(a.protocol, name), getattr(b.protocol, name)
    ours, theirs = a.protocol.generation, b.protocol.generation
    for name in sorted((ours.keys() & theirs.keys()) - MODELS_OWN):
        yield f"generation.{name}", ours[name], theirs[name]
    for name in sorted(a.metrics.keys() & b.metrics.keys()):
        if not name.startswith(DISTINCT):
            signatures = a.metrics[name].signature, b.metrics[name].signature
            yield f"the signature of {name}", *signatures


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain(text) if len(text) <= 80 else plain(text[:80]) + "..."


def _settings_apart(found: Sequence[Results]) -> list[str]:
    """What each of these evaluations has of the settings in which they differ, in words."""
    facts = [
        {
            "revision": (r.model.revision or "")[:8],
            "backend": r.speed.backend,
            "dtype": r.model.dtype,
            "few_shot": r.protocol.few_shot,
        }
        | {n: r.settings.get(n) for n in ("chat_template", "engine_arg", "new_chat_format")}
        for r in found
    ]
    differing = [n for n in facts[0] if any(fact[n] != facts[0][n] for fact in facts)]
    return [format_settings({n: fact[n] for n in differing if fact[n]}) for fact in facts]
