"""Plans and promises against a real GPU: `python -m tests.gpu.kit --out DIR [--part PART ...]`.

    memory  planned against measured peak of each recipe for Llama 3.1 8B, random weights
    speed   an epoch's minutes, beside TRL's own trainer
    eval    replies a second, with transformers and vLLM
    same    what must be the same as on a CPU: replies, an exhausted memory, a kill

It needs no network, and of libraries what a training needs; what is missing is skipped with a line.
A part takes at most three minutes on a GPU of 80 GB. Each writes DIR/PART.json, row by row. Without
a GPU, everything is tiny: figures of that say nothing but that the kit works.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEEDED = ("torch", "transformers", "peft", "trl")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 1 where a part was missing or a row has no figure though it should."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu.kit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--part", action="append", choices=("memory", "speed", "eval", "same"), metavar="PART"
    )
    args = parser.parse_args(argv)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(f"not installed here: {', '.join(missing)}; nothing is measured", file=sys.stderr)
        return 1
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    from tests.gpu.parts import ON_CPU, ON_GPU, PARTS

    scale = ON_GPU if torch.cuda.is_available() else ON_CPU
    machine = _machine()
    args.out.mkdir(parents=True, exist_ok=True)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"\n{'part':<8}{'what':<52}{'expected':>10}{'measured':>10}  unit")
    failed = False
    for part in args.part or PARTS:
        started, rows = time.monotonic(), []
        for row in PARTS[part](scale):
            rows.append(asdict(row))
            seconds = round(time.monotonic() - started, 1)
            found = {"part": part, "machine": machine, "seconds": seconds, "rows": rows}
            text = json.dumps(found, ensure_ascii=False, indent=2)
            (args.out / f"{part}.json").write_text(f"{text}\n", encoding="utf-8")
            numbers = f"{_number(row.expected):>10}{_number(row.measured):>10}"
            print(f"{part:<8}{row.what:<52}{numbers}  {row.unit}  {row.note}", flush=True)
            failed |= row.measured is None and not row.note.startswith("skipped")
    return int(failed)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _machine() -> dict[str, Any]:
    """GPU and driver (none on a CPU), versions, and the commit that is measured."""
    import torch

    found: dict[str, Any] = {"GPU": "none", "driver": "none"}
    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.get_device_name()
        found["driver"] = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    for name in (*NEEDED, "accelerate", "bitsandbytes", "vllm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found | {"commit": _said("git", "rev-parse", "--short=12", "HEAD")}


def _said(*command: str) -> str:
    """The first line that a command prints, `unknown` where there is no such command."""
    if shutil.which(command[0]) is None:
        return "unknown"
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip().split("\n")[0] or "unknown"


if __name__ == "__main__":
    sys.exit(main())
