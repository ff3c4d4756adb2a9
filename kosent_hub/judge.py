"""Judge the replies that evaluations have stored, by models and by people."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.judging.options import LANGUAGES, LOCAL_BACKENDS, Options
from model_card.publishing.errors import KoSentError, run_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_card.records import BenchJudgement, Judgements

EPILOG = (
    "`kosent-judge report DIR...` prints what all judges have said so far; `kosent-judge export "
    "DIR... --preferences OUT` writes pairs to train on; `kosent-judge bench DIR` judges referral, "
    "conduct and contradictions in an evaluation on KoSent-Bench."
)
# What --people takes, and what of it a model as a judge takes too.
PEOPLES, SHARED = ("port", "export", "votes"), ("limit", "output", "run", "overwrite", "seed")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-judge` and of its `report`, `export` and `bench`."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["bench"]:
        return run_command("kosent-judge bench", lambda: _bench(given[1:]))
    if given[:1] == ["export"]:
        return run_command("kosent-judge export", lambda: _export(given[1:]))
    if given[:1] == ["report"]:
        return run_command("kosent-judge report", lambda: _report(given[1:]))
    return run_command("kosent-judge", lambda: _judge(given))


def _judge(argv: Sequence[str]) -> None:
    given = vars(_parser().parse_args(argv))
    as_json, by_people = given.pop("json"), given.pop("people")
    peoples = {name: given.pop(name) for name in PEOPLES}
    if by_people:
        _people(given, peoples, as_json)
        return
    if named := [name for name, value in peoples.items() if value]:
        raise KoSentError(f"--{named[0]}", "is about people", "add --people")
    options = Options(**given)
    from kosent_hub.judging import judge
    from kosent_hub.models.machine import quiet

    quiet.silence()
    judge(options, _show(as_json))


def _people(given: dict[str, Any], peoples: dict[str, Any], as_json: bool) -> None:
    defaults = _defaults()
    for name, value in given.items():
        if name not in ("folders", *SHARED) and value != defaults.get(name):
            raise KoSentError(f"--{name.replace('_', '-')}", "is about a model as a judge")
    from kosent_hub.judging.people.run import export_page, read_votes_file, serve_page

    folders, limit, out = given["folders"], given["limit"], peoples["export"]
    if out is not None:
        print(export_page(folders, limit, out, overwrite=given["overwrite"]))
    elif peoples["votes"] is not None:
        read_votes_file(folders, peoples["votes"], overwrite=given["overwrite"])
        shared = {name: given[name] for name in ("seed", "output", "run", "overwrite")}
        from kosent_hub.judging import report

        report(folders, show=_show(as_json), **shared)
    else:
        serve_page(folders, limit, peoples["port"], lambda url: print(url, flush=True))


def _report(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="kosent-judge report",
        description="What models and people have said so far of stored replies: how far each judge "
        "is to be believed, then win rates, strengths and ratings.",
    )
    _add_folders(parser)
    _add_run(_add_results(parser, overwrite="replace the file of --output"))
    given = vars(parser.parse_args(argv))
    from kosent_hub.judging import report

    report(given.pop("folders"), show=_show(given.pop("json")), **given)


def _export(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="kosent-judge export",
        description="Verdicts on replies to the train or validation split as pairs to train on: "
        "the people's majority, else that of the models that may be believed.",
    )
    _add_folders(parser)
    parser.add_argument(
        "--preferences",
        type=Path,
        required=True,
        metavar="OUT",
        help="a JSONL file in TRL's preference format: prompt, chosen, rejected",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace that file")
    given = parser.parse_args(argv)
    from kosent_hub.judging.preferences import export_preferences

    count = export_preferences(given.folders, given.preferences, overwrite=given.overwrite)
    print(f"{given.preferences}: {count:,} pairs")
    print(f"next: {_next_step(given.preferences)}", file=sys.stderr)


def _next_step(out: Path) -> str:
    """What the pairs are for."""
    train = "kosent-train --config RECIPE/dpo --dataset_name"
    if out.name in ("train.jsonl", "validation.jsonl"):
        return f"{train} {out.parent}"
    return f"as train.jsonl in a folder they are a dataset: {train} FOLDER"


def _bench(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="kosent-judge bench",
        description="Referral, conduct and contradictions in the replies of an evaluation on "
        "KoSent-Bench, by a model as a judge: its precision and recall on labelled replies, then "
        "scores by part beside those of the patterns.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="an output folder of kosent-eval on kosent-bench"
    )
    _add_judge(parser)
    _add_run(
        _add_results(parser, overwrite="ask again what is answered; replace the file of --output")
    )
    parser.set_defaults(**_defaults())
    given = vars(parser.parse_args(argv))
    as_json, folder = given.pop("json"), given.pop("folder")
    options = Options(**given, folders=[folder])
    from kosent_hub.judging.bench.run import judge_bench
    from kosent_hub.models.machine import quiet

    quiet.silence()
    judge_bench(options, _print_json if as_json else _print_bench)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-judge",
        description="Judge the replies that kosent-eval has stored, pair by pair and blind, by a "
        "model or by people. One folder: its model against its baseline; several: their models.",
        epilog=EPILOG,
    )
    _add_folders(parser)
    who, how = _add_judge(parser)
    who.add_argument("--people", action="store_true", help="people, on a page of this machine")
    how.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="only N samples, the same ones for every judge (default: all; people: 100)",
    )
    people = parser.add_argument_group("people")
    people.add_argument("--port", type=int, default=0, metavar="N", help="of the page")
    people.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write the page as one HTML file that works without this program, for one rater",
    )
    people.add_argument(
        "--votes", type=Path, metavar="FILE", help="read the votes file that such a page gave back"
    )
    _add_run(_add_results(parser, overwrite="judge again what is judged; replace files"))
    parser.set_defaults(**_defaults())
    return parser


def _add_judge(parser: argparse.ArgumentParser) -> tuple[Any, Any]:
    """Add which model judges, and how; the two groups of arguments."""
    who = parser.add_argument_group("who judges")
    who.add_argument("--judge", metavar="ID|PATH", help="a model, run here")
    who.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, up to /v1")
    who.add_argument("--judge-model", metavar="NAME", help="endpoint: the model's name there")
    how = parser.add_argument_group("how")
    how.add_argument("--language", choices=LANGUAGES, help="of the rubric (default: %(default)s)")
    how.add_argument("--backend", choices=LOCAL_BACKENDS, help="of --judge")
    how.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="of an answer; more for a model that reasons first (default: %(default)s)",
    )
    how.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help="endpoint: requests at a time (default: %(default)s)",
    )
    how.add_argument(
        "--i-may-send-this-text",
        metavar="URL",
        help="endpoint: this server may have the dataset's text, though it is neither on this "
        "machine nor in a private network (AI Hub's terms forbid to pass its text on)",
    )
    how.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code from the judge's repo"
    )
    return who, how


def _defaults() -> dict[str, Any]:
    return {f.name: f.default for f in fields(Options) if f.default is not MISSING}


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="an output folder of kosent-eval"
    )


def _add_results(parser: argparse.ArgumentParser, overwrite: str) -> Any:
    """Add what is written where; the group of these arguments."""
    out = parser.add_argument_group("results")
    out.add_argument("--json", action="store_true", help="print one JSON document, no table")
    out.add_argument("--output", type=Path, metavar="FILE", help="write that document there")
    out.add_argument("--overwrite", action="store_true", help=overwrite)
    out.add_argument("--seed", type=int, default=0, help="of intervals (default: %(default)s)")
    return out


def _add_run(results: Any) -> None:
    results.add_argument(
        "--run", type=Path, metavar="RUN", help="also into this run folder, for its card"
    )


def _show(as_json: bool) -> Callable[[Judgements], None]:
    return _print_json if as_json else _print_table


def _print_json(found: Judgements | BenchJudgement) -> None:
    from model_card.records import dumps

    print(dumps(found), end="", flush=True)


def _print_table(found: Judgements) -> None:
    from kosent_hub.judging.table import table

    print(table(found), flush=True)


def _print_bench(found: BenchJudgement) -> None:
    from kosent_hub.judging.bench.table import table

    print(table(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
