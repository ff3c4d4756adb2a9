"""A model as a judge: its answers to all prompts, in both orders, read strictly."""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from kosent_hub.evaluation.backends import BACKENDS, Backend
from kosent_hub.evaluation.backends.endpoint import EndpointBackend, locate_served
from kosent_hub.evaluation.options import Options as EvaluationOptions
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.store import CompletionStore, keys
from kosent_hub.judging import rubric, verdicts
from kosent_hub.judging.options import Options
from kosent_hub.judging.reading import Pair, Stored
from kosent_hub.judging.verdicts import FIRST, SECOND, TIE, Judged
from kosent_hub.models.chat_format import Messages
from kosent_hub.models.locate import Located, ModelRef, locate
from kosent_hub.models.machine.versions import versions
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import exclusive
from model_card.records import read, suffix

# Prompts in memory at a time.
CHUNK = 512
COMMAND = "kosent-judge"
# Of the two orders in which a pair is shown, what each answer says of the pair.
AHEAD = {rubric.FIRST: FIRST, rubric.SECOND: SECOND, rubric.TIE: TIE}
BEHIND = {rubric.FIRST: SECOND, rubric.SECOND: FIRST, rubric.TIE: TIE}

Read = TypeVar("Read")


def ask(options: Options, stored: Stored) -> Judged:
    """The judge's verdicts and ratings, made or gone on with, and written to the folder of the
    evaluation.

    Raises KoSentError where they are there already and may not be replaced, and for what a judge
    or its server refuses.
    """
    with closing(judging_backend(options)) as backend:
        identity = {"names": stored.names, **judge_identity(options, backend)}
        folder = verdicts.place(stored.folders[0], options.name, suffix(identity)[2:])
        path = folder / verdicts.JUDGEMENT
        with exclusive(folder, COMMAND):
            _refuse_finished(path, options, stored)
            store = CompletionStore(folder)
            if options.overwrite:
                store.delete()
            judge = Judge(backend, store, options.language)
            found = _judge(judge, options, stored)
            verdicts.write(path, found)
    return found


def _refuse_finished(path: Path, options: Options, stored: Stored) -> None:
    """Raise KoSentError if all that is asked for has been judged, or replies of another run have
    been, unless it may be replaced."""
    if options.overwrite or not path.is_file():
        return
    before = read(Judged, path)
    verdicts.assert_same(path, before.about, verdicts.about(stored))
    asked = len(list(stored.limited(options.limit)))
    if asked <= len(list(stored.limited(before.limit))):
        raise KoSentError(
            path,
            f"{options.name} has judged these replies already",
            "see kosent-judge report, or judge again with --overwrite",
        )


def judge_identity(options: Options, backend: Backend) -> dict[str, Any]:
    """Who judges: the same for replies of another run, whose judgement takes its place."""
    model = {n: v for n, v in asdict(backend.model).items() if not n.endswith("revision")}
    return {
        "judge": [model, backend.identity, backend.chat_format, backend.generation],
        "language": options.language,
    }


def judging_backend(options: Options) -> Backend:
    """The engine that runs the judge, or the server that has it."""
    ref = ModelRef(options.name, trust_remote_code=options.trust_remote_code)
    endpoint = options.endpoint is not None
    located: Located | None = locate_served(ref) if endpoint else locate(ref)
    evaluation = EvaluationOptions(
        model=options.name,
        dataset=COMMAND,
        backend="endpoint" if endpoint else options.backend,
        endpoint=options.endpoint,
        concurrency=options.concurrency,
        max_new_tokens=options.max_new_tokens,
    )
    return BACKENDS[evaluation.backend](ref, located, evaluation)


class Judge:
    """A backend that is asked for JSON; every answer is stored as soon as it is there."""

    def __init__(self, backend: Backend, store: CompletionStore, language: str) -> None:
        self.backend, self.store, self.language = backend, store, language
        self.counts: Counter[str] = Counter()

    def answers(
        self,
        kind: str,
        prompts: Iterator[Messages],
        read: Callable[[str], Read | None],
        bar: tqdm[Any],
    ) -> Iterator[Read | None]:
        """What each prompt's answer says; None where neither it nor that of a second try can be
        read. Constrained output is asked for where the engine may have it."""
        if isinstance(self.backend, EndpointBackend):
            self.backend.ask_for(rubric.response_format(kind))
        while chunk := list(islice(prompts, CHUNK)):
            texts = self._texts(chunk, bar)
            found = [read(text) for text in texts]
            failed = [i for i, each in enumerate(found) if each is None]
            retried = [rubric.again(self.language, chunk[i], texts[i]) for i in failed]
            for i, text in zip(failed, self._texts(retried, None), strict=True):
                found[i] = read(text)
            self.counts["answers"] += len(chunk)
            self.counts["retried"] += len(failed)
            yield from found

    def _texts(self, prompts: Sequence[Messages], bar: tqdm[Any] | None) -> list[str]:
        """The judge's answers, those that the store lacks generated."""
        samples = [Sample(str(i), "", i, messages, "{}") for i, messages in enumerate(prompts)]
        found = keys("judge", self.backend, samples)
        # The same prompt twice, as for the check set's equal replies, is asked once.
        missing = {key: i for i, key in enumerate(found) if key not in self.store.records}
        if missing:
            self.backend.check_lengths(samples)
            for reply in self.backend.replies(samples, sorted(missing.values())):
                self.store.add(found[reply.index], {"text": reply.text, "stop": reply.stop})
        if bar is not None:
            bar.update(len(prompts))
        return [self.store.records[key]["text"] for key in found]


def _judge(judge: Judge, options: Options, stored: Stored) -> Judged:
    language, replies = options.language, stored.replies
    checks = rubric.check_set()
    pairs = list(stored.pairs(options.limit))
    asked = [pair for pair in pairs if len(set(stored.texts(pair))) == 2]
    rated = [(i, m) for i in stored.limited(options.limit) for m in range(len(replies))]
    total = 2 * (len(checks) + len(asked)) + len(rated)
    print(f"{judge.backend.model.id} judges: {len(pairs):,} pairs, both orders", file=sys.stderr)
    with tqdm(total=total, desc="judging", unit=" answers", file=sys.stderr) as bar:
        shown = ((check.messages, check.better, check.worse) for check in checks)
        check = list(_both(judge, shown, bar))
        judge.counts.clear()  # those below are of the replies alone
        texts = ((stored.messages[pair.sample], *stored.texts(pair)) for pair in asked)
        found = dict(zip(asked, _both(judge, texts, bar), strict=True))
        prompts = (
            rubric.reply_prompt(language, stored.messages[i], replies[m][i]) for i, m in rated
        )
        ratings = list(judge.answers("reply", prompts, rubric.read_ratings, bar))
    both = [found.get(pair, (TIE, TIE)) for pair in pairs]
    counts = {
        "pairs": len(pairs),
        "same_replies": len(pairs) - len(asked),
        "failures": sum(verdicts.combined(*each) is None for each in both),
        "ratings": len(ratings),
        "rating_failures": sum(each is None for each in ratings),
        **judge.counts,
    }
    backend = judge.backend
    return Judged(
        about=verdicts.about(stored),
        judge=backend.model.id,
        model=backend.model,
        settings={
            "language": language,
            "limit": options.limit,
            "backend": "endpoint" if options.endpoint else options.backend,
            "engine": backend.engine,
            "generation": backend.generation,
        },
        limit=options.limit,
        pairs=_pair_columns(pairs, both),
        ratings=_rating_columns(rated, ratings),
        check={
            "id": [check.id for check in checks],
            "ahead": [ahead for ahead, _ in check],
            "behind": [behind for _, behind in check],
        },
        counts=counts,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )


def _both(
    judge: Judge, shown: Iterator[tuple[Messages, str, str]], bar: tqdm[Any]
) -> Iterator[tuple[int | None, int | None]]:
    """The verdicts on each two replies, the first one shown first, and shown second."""

    def prompts() -> Iterator[Messages]:
        for messages, first, second in shown:
            yield rubric.pair_prompt(judge.language, messages, first, second)
            yield rubric.pair_prompt(judge.language, messages, second, first)

    answers = judge.answers("pair", prompts(), rubric.read_choice, bar)
    for ahead, behind in zip(answers, answers, strict=True):
        yield (
            None if ahead is None else AHEAD[ahead],
            None if behind is None else BEHIND[behind],
        )


def _pair_columns(
    pairs: Sequence[Pair], both: Sequence[tuple[int | None, int | None]]
) -> dict[str, list[Any]]:
    return {
        "sample": [pair.sample for pair in pairs],
        "first": [pair.first for pair in pairs],
        "second": [pair.second for pair in pairs],
        "ahead": [ahead for ahead, _ in both],
        "behind": [behind for _, behind in both],
    }


def _rating_columns(
    rated: Sequence[tuple[int, int]], ratings: Sequence[dict[str, int] | None]
) -> dict[str, list[Any]]:
    return {
        "sample": [sample for sample, _ in rated],
        "model": [model for _, model in rated],
        **{
            name: [None if found is None else found[name] for found in ratings]
            for name in rubric.SCHEMAS["reply"]
        },
    }
