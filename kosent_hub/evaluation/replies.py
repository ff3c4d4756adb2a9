"""One model's part of an evaluation: what the store lacks is generated."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from tqdm import tqdm

from kosent_hub.evaluation.backends import (
    BACKENDS,
    CUT,
    TEMPLATE_VARIABLES,
    Backend,
    Reply,
    TargetScore,
)
from kosent_hub.evaluation.options import Options
from kosent_hub.evaluation.retention import retention_samples
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.store import CompletionStore, keys
from kosent_hub.models.locate import Located, ModelRef
from kosent_hub.models.machine import distributed
from kosent_hub.models.tokenizer import tokenizer_facts
from model_card.publishing.errors import KoSentError
from model_card.records import EvaluatedModel, Speed

Produce = Callable[[Sequence[Sample], Sequence[int]], Iterator[Reply | TargetScore]]
# The model's replies to a scripted user so far -> what the user writes next, None at the end.
Talk = Callable[[Sequence[str]], Sample | None]


@dataclass(frozen=True)
class Draw:
    """One model's replies under one seed; greedy replies are a draw too.

    `replies` are in the samples' order, and so are `stops`, why each of them ended (`Reply.stop`).
    `extra_replies` and `extra_stops` are those to the extra prompts, each under its prompt's name;
    `talk_replies` and `talk_stops` those to each scripted user, in turn.
    """

    seed: int
    replies: list[str]
    stops: list[str]
    extra_replies: dict[str, str]
    extra_stops: dict[str, str]
    talk_replies: dict[str, list[str]] = field(default_factory=dict)
    talk_stops: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """One model's replies and target scores, how they were made, and how fast.

    `draws` has one for each seed. `counts` and `speed` are those of all draws together.
    `target_scores` are in the samples' order, or empty where the engine cannot score true replies;
    `text_scores` those of `retention_samples()`, or empty where a limit leaves them out.

    `generation` is how the engine was asked to reply; what a server refused of it is under
    `refused`, the draws' seeds under `seeds`. `engine` says what all replies, the extra ones too,
    were made with: device, batches or address, in `paths` how many came by each way, in `refused`
    how many were made without which field of the request. `template` is the chat template, None
    where only a server has it.
    """

    model: EvaluatedModel
    chat_format: dict[str, Any]
    template_example: str | None
    generation: dict[str, Any]
    draws: list[Draw]
    target_scores: list[TargetScore]
    text_scores: list[TargetScore]
    speed: Speed
    counts: dict[str, int]
    engine: dict[str, Any]
    template: str | None


def collect(
    options: Options,
    model: ModelRef,
    located: Located | None,
    samples: Sequence[Sample],
    extra: Sequence[Sample],
    store: CompletionStore,
    talks: Mapping[str, Talk] | None = None,
) -> Outcome | None:
    """The model's outcome on the dataset's samples, the extra prompts and with the scripted users
    `talks`, each under its name.

    Returns None in every process but the first, once its share of the work is done.
    """
    with closing(BACKENDS[options.backend](model, located, options)) as backend:
        print(f"{backend.model.id}: {options.backend}, {backend.model.dtype}", file=sys.stderr)
        seeds = options.reply_seeds
        prompts = [*samples, *extra]
        backend.check_lengths(prompts)
        in_key = seeds if options.temperature else [None]
        reply_keys = [keys("reply", backend, prompts, seed) for seed in in_key]
        score_keys = keys("fit", backend, samples)
        # A quick look is not to take minutes for what it does not ask.
        texts = retention_samples() if options.limit is None else []
        text_keys = keys("text", backend, texts)
        _report_kept([key for found in reply_keys for key in found], backend.model, store)
        talk_keys = []
        for seed, key, found in zip(seeds, in_key, reply_keys, strict=True):
            kind = f"reply, seed {seed}" if len(seeds) > 1 else "reply"
            produce = partial(backend.replies, seed=seed)
            # First, as these alone may turn out to be too long for the model.
            talk_keys.append(_talk(kind, talks or {}, backend, produce, key, store))
            _generate(kind, found, prompts, backend, produce, store)
        _generate("fit", score_keys, samples, backend, backend.score_targets, store)
        _generate("text", text_keys, texts, backend, backend.score_texts, store)
    distributed.wait()
    if distributed.rank() != 0:
        return None
    store.read()
    stored = [_stored(found, prompts, backend.model, store) for found in reply_keys]
    replies = [record for records in stored for record in records[: len(samples)]]
    talked = [
        {name: [store.records[key] for key in own] for name, own in found.items()}
        for found in talk_keys
    ]
    everything = [record for records in stored for record in records]
    everything += [record for found in talked for records in found.values() for record in records]
    scores = _stored_scores(score_keys, store)
    counts = {
        "empty_replies": sum(not record["text"] for record in replies),
        "thoughts_cut": sum(record["thought"] for record in replies),
        "truncated": sum(record["stop"] == CUT for record in replies),
        "targets_left_out": sum(not score.tokens for score in scores),
    }
    if counts["thoughts_cut"]:
        print(
            f"{backend.model.id}: {counts['thoughts_cut']:,} of {len(replies):,} replies began "
            "with a thought, which is cut off before scoring",
            file=sys.stderr,
        )
    if counts["targets_left_out"]:
        print(
            f"{backend.model.id}: its chat template changes {counts['targets_left_out']:,} of the "
            "true replies, so perplexity and token accuracy leave them out",
            file=sys.stderr,
        )
    refused = Counter(field for record in everything for field in record["refused"])
    paths = Counter(record["path"] for record in everything if record["path"])
    return Outcome(
        model=_described(backend, located),
        chat_format=backend.chat_format
        | ({"switches": {}} if TEMPLATE_VARIABLES in refused else {}),
        template_example=backend.template_example,
        generation=backend.generation
        | ({"seeds": seeds} if options.temperature else {})
        | ({"refused": sorted(refused)} if refused else {}),
        draws=[
            _draw(seed, records, len(samples), extra, talks_of)
            for seed, records, talks_of in zip(seeds, stored, talked, strict=True)
        ],
        target_scores=scores,
        text_scores=_stored_scores(text_keys, store),
        speed=_speed(options.backend, [record for records in stored for record in records]),
        counts=counts,
        engine={
            "backend": options.backend,
            **backend.engine,
            "paths": dict(sorted(paths.items())),
            "refused": dict(sorted(refused.items())),
        },
        template=None if located is None else located.form.tokenizer.get_chat_template(),
    )


def _talk(
    kind: str,
    talks: Mapping[str, Talk],
    backend: Backend,
    produce: Produce,
    seed: int | None,
    store: CompletionStore,
) -> dict[str, list[str]]:
    """Have all the conversations, one turn of all users at a time; the keys of each one's replies.

    The user's next text depends on the replies, so every process needs those of all.
    """
    said: dict[str, list[str]] = {name: [] for name in talks}
    found: dict[str, list[str]] = {name: [] for name in talks}
    while True:
        turns = {name: talk(said[name]) for name, talk in talks.items()}
        samples = {name: sample for name, sample in turns.items() if sample is not None}
        if not samples:
            return found
        prompts = list(samples.values())
        backend.check_lengths(prompts)
        own = keys("reply", backend, prompts, seed)
        number = max(map(len, said.values())) + 1
        _generate(f"{kind}, turn {number} of users", own, prompts, backend, produce, store)
        if distributed.world_size() > 1:
            distributed.wait()
            store.read()
        for name, key, record in zip(
            samples, own, _stored(own, prompts, backend.model, store), strict=True
        ):
            said[name].append(record["text"])
            found[name].append(key)


def _draw(
    seed: int,
    records: Sequence[dict[str, Any]],
    samples: int,
    extra: Sequence[Sample],
    talks: Mapping[str, Sequence[dict[str, Any]]],
) -> Draw:
    """The draw of the records of that many samples and, after them, of the extra prompts; and of
    the scripted users."""
    named = dict(zip((sample.dialogue_id for sample in extra), records[samples:], strict=True))
    return Draw(
        seed,
        replies=[record["text"] for record in records[:samples]],
        stops=[record["stop"] for record in records[:samples]],
        extra_replies={name: record["text"] for name, record in named.items()},
        extra_stops={name: record["stop"] for name, record in named.items()},
        talk_replies={name: [r["text"] for r in own] for name, own in talks.items()},
        talk_stops={name: [r["stop"] for r in own] for name, own in talks.items()},
    )


def _report_kept(found: Sequence[str], model: EvaluatedModel, store: CompletionStore) -> None:
    """Say how many replies an earlier run left."""
    kept = sum(key in store.records for key in found)
    if kept and distributed.rank() == 0:
        print(
            f"{model.id}: {kept:,} of {len(found):,} replies are kept from an earlier run; "
            "--fresh makes them again",
            file=sys.stderr,
        )


def _described(backend: Backend, located: Located | None) -> EvaluatedModel:
    """The model with what is known of it here; of one that only a server has, nothing is."""
    if located is None:
        return backend.model
    described = replace(backend.model, tokenizer=tokenizer_facts(located.form.tokenizer))
    if backend.parameters is None:
        return described
    return replace(
        described, parameters=backend.parameters, weights_sha256=located.weights_sha256()
    )


def _stored_scores(found: Sequence[str], store: CompletionStore) -> list[TargetScore]:
    """The scores in the store; none unless all are there."""
    records = [store.records[key] for key in found if key in store.records]
    if len(records) < len(found):
        return []
    return [
        TargetScore(i, record["nll"], record["correct"], record["tokens"])
        for i, record in enumerate(records)
    ]


def _generate(
    kind: str,
    found: Sequence[str],
    samples: Sequence[Sample],
    backend: Backend,
    produce: Produce,
    store: CompletionStore,
) -> None:
    """Make this process's share of the records that the store lacks; `found` are the keys.

    Each record is stored as soon as `produce` yields it.
    """
    share = _share(samples)
    missing = [n for n, i in enumerate(share) if found[i] not in store.records]
    if not missing:
        return
    before = time.perf_counter()
    bar = tqdm(
        desc=f"{backend.model.id}: {kind}",
        total=len(share),
        initial=len(share) - len(missing),
        unit=" samples",
        smoothing=0.1,
        file=sys.stderr,
    )
    with bar:
        for made in produce([samples[i] for i in share], missing):
            now = time.perf_counter()
            index = share[made.index]
            record = {name: value for name, value in asdict(made).items() if name != "index"}
            record |= {"id": samples[index].id, "seconds": round(now - before, 6)}
            store.add(found[index], record)
            before = now
            bar.update()


def _share(samples: Sequence[Sample]) -> list[int]:
    """Every n-th dialogue for each of n processes: a dialogue's samples share their start."""
    numbers: dict[int, int] = {}
    for sample in samples:
        numbers.setdefault(sample.row, len(numbers))
    return [
        i
        for i, sample in enumerate(samples)
        if numbers[sample.row] % distributed.world_size() == distributed.rank()
    ]


def _stored(
    found: Sequence[str], samples: Sequence[Sample], model: EvaluatedModel, store: CompletionStore
) -> list[dict[str, Any]]:
    """The samples' replies in the store; raises KoSentError if any is missing."""
    missing = [s.id for s, key in zip(samples, found, strict=True) if key not in store.records]
    if missing:
        raise KoSentError(
            f"{model.id}: reply",
            f"{len(missing)} of {len(samples)} are missing (first: {missing[0]})",
            "run the same command again to get them",
        )
    return [store.records[key] for key in found]


def _speed(engine: str, records: Sequence[dict[str, Any]]) -> Speed:
    """Time of the slowest process, interrupted runs included, and what it comes to a second."""
    by_rank: dict[int, float] = {}
    for record in records:
        by_rank[record["rank"]] = by_rank.get(record["rank"], 0.0) + record["seconds"]
    seconds = max(by_rank.values())
    tokens = sum(record["tokens"] for record in records)
    return Speed(engine, round(seconds, 3), len(records) / seconds, tokens / seconds)
