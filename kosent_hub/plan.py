"""`kosent-plan`: will this recipe fit, how long will it take, and what would make it fit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from kosent_hub.training import recipe
from kosent_hub.training.memory import DEFAULTS, Base
from kosent_hub.training.planning import (
    CARDS,
    Card,
    Data,
    aihub_corpus,
    count,
    find_card,
    load_base,
    plan,
)
from model_card.publishing.errors import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-plan`."""
    return run_command("kosent-plan", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="kosent-plan", description=__doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file or a packaged one's name")
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--gpu", metavar="NAME", help=", ".join(card.name for card in CARDS))
    device.add_argument("--vram-gb", type=float, metavar="N", help="a card with N GB of memory")
    parser.add_argument(
        "--dataset", metavar="OUT|ID", help="count its dialogues and tokens instead of AI Hub's"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    args = parser.parse_args(argv)
    from model_card.publishing import session

    settings = DEFAULTS | recipe.load(args.recipe)
    card = find_card(args.gpu, args.vram_gb, settings)
    session.install()
    base = load_base(str(settings["model_name_or_path"]))
    data = count(args.dataset, settings) if args.dataset else aihub_corpus()
    found = plan(base, settings, data, card)
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print(found, recipe.title(args.recipe), base, settings, data, card)


def _print(
    found: Mapping[str, Any],
    title: str,
    base: Base,
    settings: Mapping[str, Any],
    data: Data,
    card: Card | None,
) -> None:
    """The plan as tables: memory by part, the work, the verdict."""
    print(f"{title}: {settings['model_name_or_path']}\n")
    print(f"{'peak memory':<16}{'GiB':>8}")
    for name, value in found["parts"].items():
        if value:
            print(f"  {name:<14}{value:>8.2f}")
    print(f"  {'together':<14}{found['peak_gib']:>8.2f}\n")
    print(f"{found['steps']:,} steps, {found['tokens']:,} tokens")
    print(f"({data.note})\n")
    if card is not None:
        verdict = "fits" if found["fits"] else "does not fit"
        print(f"{card.name}, {card.gib:g} GiB: {verdict}; {_span(found['hours'])}")
        for suggestion in found["suggestions"]:
            print(f"  to make it fit: {suggestion}")
    else:
        print(f"{'card':<14}{'GiB':>6}  {'':<12}time")
        for one in CARDS:
            other = plan(base, settings, data, one)
            verdict = "fits" if other["fits"] else "does not fit"
            print(f"{one.name:<14}{one.gib:>6.1f}  {verdict:<12} {_span(other['hours'])}")
    print(
        f"train: accelerate launch -m kosent_hub.train --config {title} --dataset_name DATASET",
        file=sys.stderr,
    )


def _span(hours: Sequence[float]) -> str:
    """`0.6 to 2.3 hours`, in minutes when that is short."""
    low, high = hours
    if high < 2:
        return f"{low * 60:.0f} to {high * 60:.0f} minutes"
    return f"{low:.1f} to {high:.1f} hours"


if __name__ == "__main__":
    sys.exit(main())
