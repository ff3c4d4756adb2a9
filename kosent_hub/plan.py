"""`kosent-plan`: will this recipe fit, how long will it take, and what would make it fit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kosent_hub.training import recipe
from kosent_hub.training.planning.memory import DEFAULTS
from kosent_hub.training.planning.plan import Job, Plan, PlanOptions, load_job, on_each, plan_job
from model_card.publishing.errors import KoSentError, run_command

_USAGE = "kosent-plan RECIPE|MODEL_ID|FOLDER [--any_field VALUE ...] [--gpu NAME | --vram-gb N]"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-plan`."""
    return run_command("kosent-plan", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="kosent-plan", description=__doc__, usage=_USAGE, allow_abbrev=False
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="a recipe file, a packaged one's name, a base on the Hub, or a folder with its "
        "config.json; any training setting may follow as --NAME VALUE",
    )
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--gpu", metavar="NAME", help="as nvidia-smi says, or `RTX 4090`, `4090`")
    device.add_argument("--vram-gb", type=float, metavar="N", help="a GPU with N GB of memory")
    device.add_argument(
        "--all-gpus", action="store_true", help="every known GPU against every packaged recipe"
    )
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="that many of that GPU")
    parser.add_argument(
        "--link-gbit", type=float, metavar="N", help="the slowest link between them, in Gbit/s"
    )
    parser.add_argument(
        "--dataset", metavar="OUT|ID", help="count its dialogues and tokens instead of AI Hub's"
    )
    parser.add_argument(
        "--dataset-config", metavar="NAME", help="of a dataset with several configurations"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    args, rest = parser.parse_known_args(argv)
    fields = recipe.fields(rest, DEFAULTS)
    if args.all_gpus:
        names = [args.recipe] if args.recipe else recipe.packaged()
        _print_all([load_job(PlanOptions(name, fields=fields)) for name in names], args.json)
        return
    if args.recipe is None:
        raise KoSentError(
            None, "name a recipe or a base model", f"packaged ones: {', '.join(recipe.packaged())}"
        )
    if args.gpus > 1 and args.gpu is None and args.vram_gb is None:
        raise KoSentError(f"--gpus {args.gpus}", "of which GPU", "add --gpu NAME or --vram-gb N")
    job = load_job(
        PlanOptions(
            args.recipe,
            args.gpu,
            args.vram_gb,
            args.dataset,
            args.dataset_config,
            fields,
            args.gpus,
            args.link_gbit,
        )
    )
    found = plan_job(job)
    if args.json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        _print(found, job)


def _print(found: Plan, job: Job) -> None:
    """The plan as tables: memory by part, the work, and whether it fits the GPU or each GPU."""
    parameters = found.parameters
    print(f"{job.title}: {job.settings['model_name_or_path']}")
    print(f"{parameters['all']:,} parameters, {parameters['trained']:,} of them trained\n")
    print(f"{'peak memory':<16}{'GiB':>8}")
    for name, value in found.parts.items():
        if value:
            print(f"  {name:<14}{value:>8.2f}")
    print(f"  {'together':<14}{found.peak_gib:>8.2f}\n")
    print(f"{found.steps:,} steps, {found.tokens:,} tokens")
    print(f"({job.data.note})")
    if found.density:
        each, size = found.density["tokens_per_character"], found.density["tokens_per_byte"]
        print(f"{each:.2f} tokens a character, {size:.2f} a byte, with the base's tokenizer")
    print()
    for note in found.notes:
        print(f"note: {note}")
    if job.gpu is not None:
        print(f"{job.gpu.name}, {job.gpu.gib:g} GiB: {_verdict(found.fits)}; {_span(found.hours)}")
        for suggestion in found.suggestions:
            print(f"  to make it fit: {suggestion}")
        for way in found.several:
            print(
                f"  {job.gpus} GPUs, {way.name:<7} {way.peak_gib:.2f} GiB each: "
                f"{_verdict(way.fits)}; {_span(way.hours)}, "
                f"the slowest link takes {_time(way.link_hours)} of them"
            )
    else:
        print(f"{'GPU':<18}{'GiB':>6}  {'':<12}time")
        for gpu, fits, hours in on_each(job):
            print(f"{gpu.name:<18}{gpu.gib:>6.1f}  {_verdict(fits):<12} {_span(hours)}")
    print(f"train: {_command(job)}", file=sys.stderr)


def _command(job: Job) -> str:
    """The command that trains what was planned."""
    own = recipe.load(job.title) if job.title in recipe.packaged() else {}
    changed = {
        name: value
        for name, value in job.settings.items()
        if own and name in {*own, "adapter", "trainer"} and own.get(name) != value
    }
    flags = "".join(f" {flag}" for flag in recipe.as_flags(changed))
    return f"kosent-train --config {job.title}{flags} --dataset_name DATASET"


def _print_all(jobs: Sequence[Job], as_json: bool) -> None:
    """Every GPU against every recipe: hours where it fits."""
    columns = [on_each(job) for job in jobs]
    if as_json:
        found: list[Mapping[str, Any]] = [
            {"recipe": job.title, "gpu": gpu.name, "fits": fits, "hours": hours}
            for job, column in zip(jobs, columns, strict=True)
            for gpu, fits, hours in column
        ]
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    print("hours or minutes, from-to, where it fits\n")
    for number, job in enumerate(jobs, 1):
        print(f"{number:>3} {job.title}: {job.settings['model_name_or_path']}")
    heads = "".join(f"{number:>11}" for number in range(1, len(jobs) + 1))
    print(f"\n{'GPU':<18}{'GiB':>6}{heads}")
    for row in zip(*columns, strict=True):
        gpu = row[0][0]
        cells = [_short(*hours) if fits else "-" for _, fits, hours in row]
        print(f"{gpu.name:<18}{gpu.gib:>6.1f}" + "".join(f"{cell:>11}" for cell in cells))


def _verdict(fits: bool | None) -> str:
    return "fits" if fits else "does not fit"


def _span(hours: tuple[float, float] | None) -> str:
    """`0.6 to 2.3 hours`, in minutes when that is short."""
    low, high = hours or (0.0, 0.0)
    if high * 60 < 0.5:
        return "less than a minute"
    if high < 2:
        return f"{low * 60:.0f} to {high * 60:.0f} minutes"
    return f"{low:.1f} to {high:.1f} hours"


def _short(low: float, high: float) -> str:
    """`2.6-9.9h`, in minutes when that is short."""
    if high * 60 < 0.5:
        return "<1m"
    return f"{low * 60:.0f}-{high * 60:.0f}m" if high < 1 else f"{low:.1f}-{high:.1f}h"


def _time(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"


if __name__ == "__main__":
    sys.exit(main())
