"""A judgement of KoSent-Bench's parts from its options to its files."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tqdm import tqdm

from kosent_hub.evaluation.store import CompletionStore
from kosent_hub.judging import rubric, verdicts
from kosent_hub.judging.asking import COMMAND, Judge, judge_identity, judging_backend
from kosent_hub.judging.bench import questions
from kosent_hub.judging.bench.measuring import Answer, detections, pattern_detections, scores
from kosent_hub.judging.bench.questions import Question, labelled
from kosent_hub.judging.bench.reading import BenchRun, read_bench_run
from kosent_hub.judging.options import Options
from kosent_hub.models.machine.versions import versions
from model_card.publishing import session
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write, exclusive
from model_card.records import (
    BENCH,
    BenchJudgement,
    Results,
    Rubric,
    bench_judgement_path,
    dumps,
    eval_path,
    read,
    suffix,
)

RECORD, ANSWERS = "bench.json", "answers.jsonl"


def judge_bench(
    options: Options, show: Callable[[BenchJudgement], None] | None = None
) -> BenchJudgement:
    """The parts of KoSent-Bench by a judge, of the one evaluation in `options.folders`.

    Answers are kept in the evaluation's folder: asked again is only what is not there, or all with
    `overwrite`. The benchmark is open, so any server may have its text. With `run`, the model's run
    folder gets the record for its card. `show` gets the record once it is written. Progress goes to
    stderr. Raises KoSentError for what the user can fix, and huggingface_hub's errors when the Hub
    refuses.
    """
    session.install()
    output = None if options.output is None else Path(options.output)
    if output is not None and output.exists() and not options.overwrite:
        raise KoSentError(output, "is there already", "replace it with --overwrite")
    (folder,) = map(Path, options.folders)
    run = read_bench_run(folder)
    if options.run is not None:
        _assert_evaluated(Path(options.run), run.results)
    with closing(judging_backend(options)) as backend:
        identity = suffix(judge_identity(options, backend))[2:]
        place = verdicts.place(folder, f"bench--{options.name}", identity)
        with exclusive(place, COMMAND):
            store = CompletionStore(place)
            if options.overwrite:
                store.delete()
            judge = Judge(backend, store, options.language)
            cases = labelled()
            asked = [*(case.question for case in cases), *(one.question for one in run.asked)]
            print(f"{backend.model.id} judges: {len(asked):,} replies", file=sys.stderr)
            answers = _answers(judge, asked)
            found = BenchJudgement(
                dataset=run.results.dataset,
                evaluated=run.results.created,
                models=run.models,
                judge=backend.model.id,
                model=backend.model,
                settings={
                    "language": options.language,
                    "backend": "endpoint" if options.endpoint else options.backend,
                    "engine": backend.engine,
                    "generation": backend.generation,
                },
                questions=Rubric(questions.VERSION, questions.sha256()),
                labelled=detections(cases, answers[: len(cases)]),
                patterns=pattern_detections(cases),
                scores=scores(run, answers[len(cases) :], options.seed),
                counts={
                    "answers": judge.counts["answers"],
                    "retried": judge.counts["retried"],
                    "failures": sum(answer is None for answer in answers),
                },
                seed=options.seed,
                versions=versions("numpy", "kiwipiepy"),
                created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            )
            atomic_write(place / ANSWERS, _lines(run, answers[len(cases) :]).encode())
            atomic_write(place / RECORD, dumps(found).encode())
    if output is not None:
        atomic_write(output, dumps(found).encode())
    if options.run is not None:
        atomic_write(Path(options.run) / bench_judgement_path(found), dumps(found).encode())
    if show is not None:
        show(found)
    print(f"record: {output or place / RECORD}; each answer: {place / ANSWERS}", file=sys.stderr)
    if options.run is not None:
        print(f"next: kosent-card render {options.run}", file=sys.stderr)
    return found


def _assert_evaluated(run: Path, results: Results) -> None:
    """Raise KoSentError unless the run folder's card shows this very evaluation."""
    path = run / eval_path(results)
    if not path.is_file() or read(Results, path).created != results.created:
        raise KoSentError(
            run,
            "its card does not show the evaluation that is judged",
            f"name the run folder of {results.model.id}, or evaluate it again: "
            f"kosent-eval --model {run} --dataset {BENCH} (replies are kept)",
        )


def _answers(judge: Judge, asked: Sequence[Question]) -> list[Answer]:
    """The answer to each question, asked kind by kind, since each kind has a form of its own."""
    found: dict[int, Answer] = {}
    with tqdm(total=len(asked), desc="judging", unit=" answers", file=sys.stderr) as bar:
        for kind in questions.KINDS:
            places = [i for i, question in enumerate(asked) if question.kind == kind]
            prompts = (questions.prompt(judge.language, asked[i]) for i in places)
            said = judge.answers(kind, prompts, partial(rubric.read_answer, kind), bar)
            found |= dict(zip(places, said, strict=True))
    return [found[i] for i in range(len(asked))]


def _lines(run: BenchRun, answers: Iterable[Answer]) -> str:
    """A JSON object for each answer, for a person to read beside the reply."""
    lines = [
        {
            "model": asked.name,
            "part": asked.part,
            "id": asked.item,
            "turn": asked.turn,
            "user": asked.question.messages[-1]["content"],
            "reply": asked.question.reply,
            "answer": None if answer is None else {n: bool(value) for n, value in answer.items()},
        }
        for asked, answer in zip(run.asked, answers, strict=True)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
