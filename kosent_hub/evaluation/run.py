"""One evaluation from samples to files: replies, scores, results.json, the card."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any

from kosent_hub.evaluation import every_eval_ever
from kosent_hub.evaluation.bench.items import NOTHING, Asked, crisis_alone, load_bench
from kosent_hub.evaluation.bench.lines import bench_lines
from kosent_hub.evaluation.extra_prompts import ExtraPrompts
from kosent_hub.evaluation.options import Options, record_id
from kosent_hub.evaluation.prompting import Prompting, choose_examples
from kosent_hub.evaluation.reference_points import usual_reply
from kosent_hub.evaluation.replies import Outcome, collect
from kosent_hub.evaluation.samples import Sample, load_samples
from kosent_hub.evaluation.scoring import Columns, score
from kosent_hub.evaluation.store import CompletionStore
from kosent_hub.models import inspection
from kosent_hub.models.chat_format import ChatFormat, Messages, UnusableDialogue
from kosent_hub.models.data.chat_dataset import system_prompt
from kosent_hub.models.data.outside import assert_may_send
from kosent_hub.models.inspection import Inspected
from kosent_hub.models.locate import Located, ModelRef, locate, template_in
from kosent_hub.models.machine import distributed
from model_card import conversations
from model_card.publish import publish
from model_card.publishing import commit, session
from model_card.publishing.errors import AGAIN, KoSentError, next_step
from model_card.publishing.files import atomic_file, atomic_write
from model_card.records import (
    BENCH,
    RUN_PATH,
    EvaluatedDataset,
    Protocol,
    Results,
    dumps,
    eval_path,
    read,
    suffix,
)
from model_card.render.numbers import format_settings


def evaluate(options: Options, show: Callable[[Results], None] | None = None) -> Results | None:
    """The model's scores, which are also written to the output folder and, if asked, to its card.

    `show` gets the results once they are written and before anything is pushed. Progress and what
    to do next go to stderr. Under `accelerate launch` or `torchrun` the processes share the
    generation and the first one scores: None is returned in all others.

    Raises KoSentError for what the user can fix, and huggingface_hub's errors when the Hub refuses.
    """
    session.install()
    if options.every_eval_ever is not None and Path(options.every_eval_ever).exists():
        raise KoSentError(
            options.every_eval_ever, "already there", "name another file, or move it away"
        )
    if options.endpoint is not None:
        assert_may_send(
            options.endpoint,
            options.dataset,
            options.dataset_revision,
            options.i_may_send_this_text,
        )
    settings = options.settings
    if options.writes_card:
        commit.writer(options.model)  # a token is better missed now than hours later
    models = _models(options)
    located = [_located(options, model) for model in models]
    samples, dataset, train, asked = _samples(options, located)
    extra = ExtraPrompts(
        system_prompt([sample.messages for sample in samples]),
        asked,
    )
    place = _place(options.model, dataset)
    folder = Path(options.output or place.with_name(place.name + suffix(settings)))
    with distributed.lock(folder, "kosent-eval"):
        before = _results_in(folder)
        distributed.join()
        # Other settings may have had the same replies made, as with another sentence encoder.
        others = [] if options.fresh or options.output else _siblings(place, folder)
        store = CompletionStore(folder, distributed.rank(), others)
        if options.fresh:
            _delete(store)
        promptings = _promptings(options, train)
        found = [
            collect(
                options,
                model,
                place,
                prompting.prompted(samples),
                prompting.prompted(extra.samples),
                store,
                extra.talks(prompting),
            )
            for model, place, prompting in zip(models, located, promptings, strict=True)
        ]
        outcomes = [outcome for outcome in found if outcome is not None]
        if not outcomes:
            return None
        usual = None if train is None else usual_reply(train)
        protocols = [
            _protocol(options, extra, prompting, outcome)
            for prompting, outcome in zip(promptings, outcomes, strict=True)
        ]
        results, columns = score(options, samples, dataset, usual, extra, outcomes, protocols)
        atomic_write(folder / "results.json", dumps(results).encode())
        _write_samples(folder / "samples.parquet", samples, columns)
        if asked != NOTHING:
            name = "bench.jsonl" if dataset.is_bench else "safety.jsonl"
            atomic_write(folder / name, bench_lines(asked, outcomes).encode())
        if options.every_eval_ever is not None:
            atomic_write(Path(options.every_eval_ever), every_eval_ever.dumps(results).encode())
        if show is not None:
            show(results)
        written = [folder / "results.json", *filter(None, [options.every_eval_ever])]
        print(f"results: {', '.join(map(str, written))}", file=sys.stderr)
        _report_replaced(before, results)
        _pass_to_card(options, results, extra, outcomes)
    return results


def inspect(options: Options, limit: int) -> tuple[ChatFormat, list[Inspected]]:
    """The model's chat format, and the first samples with it; no weights are loaded.

    A sample whose true reply the chat template changes is not among them; a line says so.
    """
    if limit < 1:
        raise KoSentError(f"--inspect {limit}", "must be 1 or more")
    session.install()
    located = locate(_models(options)[0])
    samples, *_ = _samples(replace(options, limit=limit), [located])
    found = []
    for sample in samples:
        try:
            found.append(inspection.inspect_last(located.form, sample.id, sample.dialogue))
        except UnusableDialogue as error:
            print(f"{sample.id}: {error.what}; it is not scored", file=sys.stderr)
    return located.form, found


def _models(options: Options) -> list[ModelRef]:
    """The model and then the baseline, if there is one, to be loaded in the same way."""
    template = template_in(options.chat_template)
    names = [(options.model, options.revision)]
    names += [(options.baseline, None)] if options.baseline else []
    return [
        ModelRef(
            name,
            revision,
            options.dtype,
            template,
            options.trust_remote_code,
            options.new_chat_format,
        )
        for name, revision in names
    ]


def _located(options: Options, model: ModelRef) -> Located | None:
    """The model's parts; None for a model that only its server has."""
    if options.backend != "endpoint":
        return locate(model)
    from kosent_hub.evaluation.backends.endpoint import locate_served

    return locate_served(model)


def _samples(
    options: Options, located: Sequence[Located | None]
) -> tuple[list[Sample], EvaluatedDataset, Any, Asked]:
    """The samples, what they are, the training split's rows if there are any, and what else is
    asked of KoSent-Bench."""
    forms = [found.form for found in located if found is not None]
    if options.dataset == BENCH:
        samples, record, asked = load_bench(options.limit, forms, options.max_dropped)
        return samples, record, None, asked
    samples, record, train = load_samples(
        options.dataset,
        options.split,
        config=options.dataset_config,
        revision=options.dataset_revision,
        limit=options.limit,
        forms=forms,
        max_dropped=options.max_dropped,
    )
    return samples, record, train, crisis_alone() if options.with_safety else NOTHING


def _promptings(options: Options, train: Any) -> list[Prompting]:
    """The model's prompting and then the baseline's, if there is one: help is for the last."""
    examples: tuple[Messages, ...] = ()
    if options.few_shot:
        examples = choose_examples(train, options.dataset, options.few_shot, options.seed)
    helped = Prompting(options.baseline_system, options.few_shot, examples)
    return [Prompting(), helped] if options.baseline else [helped]


def _protocol(
    options: Options, extra: ExtraPrompts, prompting: Prompting, outcome: Outcome
) -> Protocol:
    return Protocol(
        system_prompt=extra.system if prompting.system is None else prompting.system,
        template_sha256=outcome.chat_format["template_sha256"],
        generation=outcome.generation,
        seed=options.seed,
        template_example=outcome.template_example,
        template=outcome.template,
        chat_format=outcome.chat_format,
        engine=outcome.engine,
        few_shot=prompting.shots,
    )


def _place(model: str, dataset: EvaluatedDataset) -> Path:
    """`kosent-eval/<model>--<dataset>--<split>`, by the names that the record uses."""
    parts = (record_id(model), dataset.id, dataset.split)
    return Path("kosent-eval") / "--".join(part.replace("/", "--") for part in parts)


def _siblings(place: Path, folder: Path) -> list[Path]:
    """The folders of the same model and split under other settings."""
    return [other for other in place.parent.glob(f"{escape(place.name)}*") if other != folder]


def _results_in(folder: Path) -> Results | None:
    """What an earlier command wrote there; raises KoSentError if it cannot be read."""
    path = folder / "results.json"
    return read(Results, path) if path.is_file() else None


def _report_replaced(before: Results | None, results: Results) -> None:
    if before is None:
        return
    old, new = (f"{r.model.id} on {_title(r)}" for r in (before, results))
    if old != new:
        print(
            f"replaced results.json of {old}; its replies are cached, so re-running that command "
            "restores it",
            file=sys.stderr,
        )


def _title(results: Results) -> str:
    """What a model was evaluated on, in words: `ORG/DATASET, test, limit 5`."""
    settings = format_settings(results.settings)
    parts = [results.dataset.id, results.dataset.split, *([settings] if settings else [])]
    return ", ".join(parts)


def _delete(store: CompletionStore) -> None:
    """Delete what all processes have stored, before any of them writes."""
    distributed.wait()
    if distributed.rank() == 0:
        store.delete()
    distributed.wait()
    store.records = {}


def _write_samples(path: Path, samples: Sequence[Sample], columns: Columns) -> None:
    """The samples with their replies and scores; stays on this machine, for it has the targets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known: Columns = {
        "sample_id": [sample.id for sample in samples],
        "dialogue_id": [sample.dialogue_id for sample in samples],
        "row": [sample.row for sample in samples],
        "emotion_major": [sample.emotion for sample in samples],
        "messages": [list(sample.messages) for sample in samples],
        "user": [sample.user for sample in samples],
        "target": [sample.target for sample in samples],
    }
    if any(sample.others for sample in samples):
        known["targets"] = [[sample.target, *sample.others] for sample in samples]
    with atomic_file(path) as file:
        pq.write_table(pa.table(known | columns), file)


def _pass_to_card(
    options: Options, results: Results, extra: ExtraPrompts, outcomes: Sequence[Outcome]
) -> None:
    """Write the scores to where the model's card is made from, and say what to do next."""
    files = {
        eval_path(results): dumps(results).encode(),
        conversations.CONVERSATIONS_PATH: conversations.dumps(
            extra.conversations(outcomes)
        ).encode(),
    }
    run = Path(options.model)
    if options.writes_card:
        message = f"Scores on {_title(results)}"
        with next_step(f"{AGAIN}: the replies are kept, none is generated again"):
            url = publish(options.model, files, message=message, create_pr=options.create_pr)
        print(f"in the model's card: {url}", file=sys.stderr)
    elif (run / RUN_PATH).is_file():
        for name, data in files.items():
            atomic_write(run / name, data)
        print(f"next: kosent-card render {options.model}", file=sys.stderr)
    elif not run.exists():
        print("next: the same command with --push writes them into the card", file=sys.stderr)
