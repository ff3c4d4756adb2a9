"""Take a trained model home: merged into its base, or as a GGUF file for llama.cpp and Ollama."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from kosent_hub.exporting.options import KINDS, Options
from model_card.publishing.errors import run_command

if TYPE_CHECKING:
    from kosent_hub.exporting.run import Exported


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-export`."""
    return run_command("kosent-export", lambda: _export(argv))


def _export(argv: Sequence[str] | None) -> None:
    given = vars(_parser().parse_args(argv))
    as_json = given.pop("json")
    options = Options(**given)
    from kosent_hub.exporting import export
    from kosent_hub.models.machine import quiet

    quiet.silence()
    done = export(options)
    if as_json:
        print(json.dumps(dataclasses.asdict(done), ensure_ascii=False, indent=2))
    else:
        _show(done)
    _next(done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-export",
        description="Write a trained adapter together with its base, as one model that needs "
        "nothing else: a folder for transformers and vLLM, or a file for llama.cpp and Ollama.",
    )
    parser.add_argument("run", metavar="RUN", help="the folder a training run left")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--merged", metavar="DIR", help="a folder with the adapter in the weights")
    what.add_argument("--gguf", metavar="FILE", help="one file, read back before it gets its name")
    parser.add_argument(
        "--quantize", choices=KINDS, help="of a GGUF file's weights (default: f16, not quantised)"
    )
    parser.add_argument("--ollama", metavar="DIR", help="write a Modelfile for the GGUF file there")
    parser.add_argument(
        "--repo-id", metavar="ORG/NAME", help="push it, with a card, to a repo of its own"
    )
    parser.add_argument(
        "--public", action="store_true", help="create the repo publicly (default: privately)"
    )
    parser.add_argument(
        "--score",
        metavar="DATASET",
        help="run kosent-eval on what was written, against the adapter",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export of that name"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(**{f.name: f.default for f in fields(Options) if f.default is not MISSING})
    return parser


def _show(done: Exported) -> None:
    change, checks = done.change, done.checks
    print(f"{done.path}: {done.kind}, {done.bytes / 2**20:,.0f} MiB")
    print(
        f"merging changed the logits of ten prompts by {change.mean:.2g} on average and "
        f"{change.largest:.2g} at most; the adapter itself by {change.adapter_mean:.2g} on average"
    )
    if checks is not None:
        print(
            f"read back: the same token ids in {checks.texts:,} texts; the same greedy reply to "
            f"{checks.equal_replies} of {checks.prompts} prompts, logits {checks.largest:.2g} "
            "apart at most"
        )
        print("metadata: " + ", ".join(f"{k} {v}" for k, v in checks.metadata.items()))
    if done.k_quant is not None:
        print(f"smaller, by llama.cpp's own tool, to be scored again: {done.k_quant}")
    if done.modelfile is not None:
        print(f"for Ollama: {done.modelfile}")
    if done.scores is not None:
        from kosent_hub.evaluation.table import table

        print(table(done.scores))
    if done.url is not None:
        print(done.url)


def _next(done: Exported) -> None:
    """Print where the result is and what to run next."""
    steps = [f"kosent-chat {shlex.quote(done.path)}"]
    if done.modelfile is not None:
        steps.append(f"ollama create NAME -f {shlex.quote(done.modelfile)}")
    print(f"exported to {done.path}; next: {' or '.join(steps)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
