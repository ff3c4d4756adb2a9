"""`kosent-plan`: will this recipe fit, how long will it take, and what would make it fit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from kosent_hub.training import recipe
from kosent_hub.training.planning import GPUS, Job, Plan, PlanOptions, load_job, plan_job
from model_card.publishing.errors import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-plan`."""
    return run_command("kosent-plan", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="kosent-plan", description=__doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file or a packaged one's name")
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--gpu", metavar="NAME", help=", ".join(gpu.name for gpu in GPUS))
    device.add_argument("--vram-gb", type=float, metavar="N", help="a GPU with N GB of memory")
    parser.add_argument(
        "--dataset", metavar="OUT|ID", help="count its dialogues and tokens instead of AI Hub's"
    )
    parser.add_argument(
        "--dataset-config", metavar="NAME", help="of a dataset with several configurations"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    args = parser.parse_args(argv)
    job = load_job(
        PlanOptions(args.recipe, args.gpu, args.vram_gb, args.dataset, args.dataset_config)
    )
    found = plan_job(job)
    if args.json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        _print(found, job, recipe.title(args.recipe))


def _print(found: Plan, job: Job, title: str) -> None:
    """The plan as tables: memory by part, the work, and whether it fits the GPU or each GPU."""
    print(f"{title}: {job.settings['model_name_or_path']}\n")
    print(f"{'peak memory':<16}{'GiB':>8}")
    for name, value in found.parts.items():
        if value:
            print(f"  {name:<14}{value:>8.2f}")
    print(f"  {'together':<14}{found.peak_gib:>8.2f}\n")
    print(f"{found.steps:,} steps, {found.tokens:,} tokens")
    print(f"({job.data.note})\n")
    if job.gpu is not None:
        print(f"{job.gpu.name}, {job.gpu.gib:g} GiB: {_verdict(found)}; {_span(found)}")
        for suggestion in found.suggestions:
            print(f"  to make it fit: {suggestion}")
    else:
        print(f"{'GPU':<14}{'GiB':>6}  {'':<12}time")
        for gpu in GPUS:
            on_gpu = plan_job(replace(job, gpu=gpu))
            print(f"{gpu.name:<14}{gpu.gib:>6.1f}  {_verdict(on_gpu):<12} {_span(on_gpu)}")
    print(
        f"train: kosent-train --config {title} --dataset_name DATASET",
        file=sys.stderr,
    )


def _verdict(found: Plan) -> str:
    return "fits" if found.fits else "does not fit"


def _span(found: Plan) -> str:
    """`0.6 to 2.3 hours`, in minutes when that is short."""
    low, high = found.hours or (0.0, 0.0)
    if high < 2:
        return f"{low * 60:.0f} to {high * 60:.0f} minutes"
    return f"{low:.1f} to {high:.1f} hours"


if __name__ == "__main__":
    sys.exit(main())
