"""`kosent-train`: a recipe and flags -> a run folder, and its repo; `kosent-train push`: the repo.

`accelerate launch -m kosent_hub.train` is the same in several processes.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import textwrap
import threading
import warnings
from collections.abc import Sequence

from kosent_hub import push
from model_card.publishing.errors import KoSentError, run_command

HELP = """usage: kosent-train --config RECIPE [--any_field value ...]
       kosent-train push RUN --repo-id ORG/NAME

Train a LoRA adapter on the assistant's turns of a chat dataset, or push a finished run. On
several GPUs: accelerate launch -m kosent_hub.train --config RECIPE ...

  --config RECIPE           a recipe file, or a packaged one:
{recipes}
  --dataset_name DATASET    a dataset folder or Hub id with a `messages` column
  --model_name_or_path ID   another base model than the recipe's
  --trainer dpo [--adapter RUN]
                            train on preference pairs (a dataset with prompt, chosen, rejected),
                            from an adapter if one is named; recipes that end in /dpo say so
  --output_dir DIR          the run folder; on an unfinished one the same command goes on
  --inspect N [--json]      print N samples and what is learned of them, and stop
  --early_stopping_patience N
                            stop after N validations without a lower loss, and keep the best
  --push_to_hub true --hub_model_id ORG/NAME [--hub_private_repo false]
                            push adapter, tokenizer, records and card when done (private);
                            --push_merged true: the merged weights too, to ORG/NAME-merged;
                            --hub_strategy checkpoint: each checkpoint's adapter while it
                            trains, to the branch `checkpoints`
  --on hf-jobs [--flavor NAME] [--json]
                            print the same training as a job on the Hub's machines; --yes
                            starts it (docs/jobs.md)

Every other field of TRL's ScriptArguments, SFTConfig (DPOConfig) and ModelConfig is a flag too;
`trl sft --help` and `trl dpo --help` list them. A flag overrides the recipe, the recipe overrides
TRL's default.
What a recipe needs: kosent-plan RECIPE --gpu NAME"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-train`."""
    flags = sys.argv[1:] if argv is None else list(argv)
    if flags[:1] == ["push"]:
        return push.main(flags[1:])
    names = {flag.partition("=")[0] for flag in flags}
    if "--on" in names and not {"-h", "--help"} & names:
        return run_command("kosent-train", lambda: _on_another_machine(flags))
    return run_command("kosent_hub.train", lambda: _main(flags))


def _main(argv: Sequence[str]) -> None:
    from kosent_hub.training import recipe

    if {"-h", "--help"} & set(argv):
        names = textwrap.fill(", ".join(recipe.packaged()), 64, break_on_hyphens=False)
        names = textwrap.indent(names, " " * 28)
        print(HELP.format(recipes=names))
        return
    from kosent_hub.models.inspection import show
    from kosent_hub.training.run import inspect, run

    _silence_libraries()
    as_json = "--json" in argv
    settings = recipe.parse([flag for flag in argv if flag != "--json"])
    if as_json and not settings.extra.inspect:
        raise KoSentError("--json", "goes with --inspect N", "leave it out")
    if settings.extra.inspect:
        show(*inspect(settings), model=settings.model_id, as_json=as_json)
    else:
        run(settings, argv)


def _on_another_machine(argv: Sequence[str]) -> None:
    """Print the job of a training on the Hub's machines, and start it with --yes."""
    parser = argparse.ArgumentParser(prog="kosent-train", add_help=False, allow_abbrev=False)
    parser.add_argument("--on", choices=("hf-jobs",), required=True)
    parser.add_argument("--flavor")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--i-may-store-this-data-abroad", action="store_true")
    ours, flags = parser.parse_known_args(argv)
    from kosent_hub.training.jobs.job import JobOptions, prepare, start

    _silence_libraries()
    job = prepare(JobOptions(flags, ours.flavor, ours.i_may_store_this_data_abroad))
    started = start(job) if ours.yes else None
    if ours.json:
        url = {} if started is None else {"id": started.id, "url": started.url}
        print(json.dumps(job.as_json() | url, ensure_ascii=False, indent=2))
    else:
        print("\n".join(job.lines()))
        if started is not None:
            print(started.url)
    if started is None:
        print("nothing was started or sent; start it with --yes", file=sys.stderr)
        return
    name = f"{started.owner.name}/{started.id}"
    print(
        f"started; follow it: hf jobs logs -f {name}; stop it: hf jobs cancel {name}; when it is "
        f"done: kosent-eval --model {job.model} --dataset DATASET",
        file=sys.stderr,
    )


def _silence_libraries() -> None:
    """Silence warnings of libraries that no user of this command can act on."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    threading.excepthook = _print_thread_error
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()


def _print_thread_error(ended: threading.ExceptHookArgs) -> None:
    """Print a thread's traceback, except of TensorBoard's: the trainer raises its errors again."""
    if not type(ended.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(ended)


if __name__ == "__main__":
    sys.exit(main())
