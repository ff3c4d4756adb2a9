"""One evaluation from samples to files: replies, scores, results.json, the card."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import Any

from kosent_hub.evaluation import safety
from kosent_hub.evaluation.backends import Request
from kosent_hub.evaluation.extra_prompts import Written
from kosent_hub.evaluation.options import for_record
from kosent_hub.evaluation.replies import Outcome, collect
from kosent_hub.evaluation.results import Columns, compute
from kosent_hub.evaluation.samples import Sample, load_samples
from kosent_hub.evaluation.store import Completions
from kosent_hub.evaluation.table import table
from kosent_hub.models import distributed
from kosent_hub.models.chat_dataset import system_prompt
from kosent_hub.models.locate import ModelRef
from kosent_hub.models.repo import resolve
from model_card import conversations, records
from model_card.publishing import commit
from model_card.publishing.errors import AGAIN, next_step
from model_card.publishing.files import atomic_file, atomic_write
from model_card.render.numbers import format_settings as written_settings


def evaluate(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Do what the command line asks for; print the table or the JSON, and where the rest is.

    `settings` are those of the options that tell this evaluation from others.
    """
    _silence()
    if args.push or args.create_pr:
        commit.writer(args.model)  # a token is better missed now than hours later
    requests = _requests(args)
    samples, dataset = load_samples(
        args.dataset, args.split, revision=args.dataset_revision, limit=args.limit
    )
    with_safety = args.limit is None if args.safety is None else args.safety
    system = system_prompt([sample.messages for sample in samples])
    written = Written(system, safety.load() if with_safety else [])
    place = _place(args.model, dataset)
    folder = args.output or place.with_name(place.name + records.suffix(settings))
    with distributed.holding(folder, "kosent-eval"):
        before = _results_in(folder)
        distributed.join()
        # Other settings may have had the same replies made, as with another embedder.
        others = [] if args.fresh or args.output else place.parent.glob(f"{escape(place.name)}*")
        beside = [other for other in others if other != folder]
        outcomes = _outcomes(args, requests, samples, written, folder, beside)
        if not outcomes:
            return  # another process scores
        results, columns = compute(
            samples,
            dataset,
            written,
            outcomes,
            embedder=args.embedder,
            seed=args.seed,
            settings=for_record(settings, outcomes),
        )
        atomic_write(folder / "results.json", records.dumps(results).encode())
        _write_samples(folder / "samples.parquet", samples, columns)
        if written.cases:
            atomic_write(folder / "safety.jsonl", written.safety_lines(outcomes).encode())
        print(records.dumps(results) if args.json else table(results) + "\n", end="", flush=True)
        print(f"results: {folder / 'results.json'}", file=sys.stderr)
        _tell_replaced(before, results)
        _hand_on(args, results, conversations.dumps(written.conversations(outcomes)).encode())


def _outcomes(
    args: argparse.Namespace,
    requests: Sequence[Request],
    samples: Sequence[Sample],
    written: Written,
    folder: Path,
    beside: Sequence[Path],
) -> list[Outcome]:
    """What each model did; nothing in any process but the first."""
    store = Completions(folder, distributed.rank(), beside)
    if args.fresh:
        _forget(store)
    found = [collect(args.backend, r, samples, written.samples, store) for r in requests]
    return [outcome for outcome in found if outcome is not None]


def _silence() -> None:
    """Keep libraries from saying what no user of this command can act on."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)


def _requests(args: argparse.Namespace) -> list[Request]:
    """What to load, the model first and then the baseline, under the same settings."""
    template = Path(args.chat_template).read_text("utf-8") if args.chat_template else None
    models = [(args.model, args.revision)]
    if args.baseline:
        models.append((args.baseline, None))
    return [
        Request(
            ModelRef(model_id, revision, args.dtype, template, args.trust_remote_code),
            args.max_new_tokens,
            endpoint=args.endpoint,
            concurrency=args.concurrency,
            engine_args=tuple(args.engine_arg),
        )
        for model_id, revision in models
    ]


def _place(model: str, dataset: records.EvaluatedDataset) -> Path:
    """`kosent-eval/<model>--<dataset>--<split>`, by the names that the record uses."""
    repo = resolve(model) if Path(model).is_dir() else records.Repo(model)
    parts = (repo.id, dataset.id, dataset.split)
    return Path("kosent-eval") / "--".join(part.replace("/", "--") for part in parts)


def _results_in(folder: Path) -> records.Results | None:
    """What an earlier command left there; raises KoSentError for what cannot be told."""
    path = folder / "results.json"
    return records.read(records.Results, path) if path.is_file() else None


def _tell_replaced(before: records.Results | None, results: records.Results) -> None:
    if before is None:
        return
    old, new = (f"{r.model.id} on {_named(r)}" for r in (before, results))
    if old != new:
        print(
            f"they replace those of {old}, whose replies are kept: its command gives them again",
            file=sys.stderr,
        )


def _named(results: records.Results) -> str:
    """What a model was evaluated on, in words: `ORG/DATASET, test, limit 5`."""
    settings = written_settings(results.settings)
    parts = [results.dataset.id, results.dataset.split, *([settings] if settings else [])]
    return ", ".join(parts)


def _forget(store: Completions) -> None:
    """Start over, in all processes, before any of them writes."""
    distributed.wait()
    if distributed.rank() == 0:
        store.forget()
    distributed.wait()
    store.found = {}


def _write_samples(path: Path, samples: Sequence[Sample], columns: Columns) -> None:
    """The samples with their replies and scores; stays on this machine, for it has the targets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = {
        "sample_id": [sample.id for sample in samples],
        "dialogue_id": [sample.dialogue_id for sample in samples],
        "emotion_major": [sample.emotion for sample in samples],
        "user": [sample.user for sample in samples],
        "target": [sample.target for sample in samples],
    }
    with atomic_file(path) as file:
        pq.write_table(pa.table(known | columns), file)


def _hand_on(args: argparse.Namespace, results: records.Results, talk: bytes) -> None:
    """Put the scores where the card is made from, and say what to do next."""
    files = {
        records.eval_path(results): records.dumps(results).encode(),
        conversations.CONVERSATIONS_PATH: talk,
    }
    run = Path(args.model)
    if args.push or args.create_pr:
        from model_card.publish import publish

        message = f"Scores on {_named(results)}"
        with next_step(f"{AGAIN}: the replies are kept, none is generated again"):
            url = publish(args.model, files, message=message, create_pr=args.create_pr)
        print(f"in the model's card: {url}", file=sys.stderr)
    elif (run / records.RUN_PATH).is_file():
        for name, data in files.items():
            atomic_write(run / name, data)
        print(f"next: kosent-card render {args.model}", file=sys.stderr)
    elif not run.is_dir():
        print("next: the same command with --push writes them into the card", file=sys.stderr)
