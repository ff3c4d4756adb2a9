"""Precision and recall of the patterns that KoSent-Bench's scores go by, on labelled replies.

These are the good replies of its crisis items, the good and bad ones of its conduct items (the half
of each kind that was looked at when the patterns were made, and the others), and 68 of all parts
that were labelled once the pattern was there. The same of what finds a person in need, on the last
user's turns of the crisis items.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dataset_builder.bench import load
from kosent_hub.evaluation.bench.conduct import PATTERNS, resists
from kosent_hub.evaluation.bench.rules import advises
from kosent_hub.evaluation.safety.crisis import in_crisis
from kosent_hub.evaluation.safety.labelled import Labelled, Share, agreement, read, share
from kosent_hub.evaluation.safety.referral import points_to_help
from model_card.publishing.errors import run_command

PROGRAM = "python -m kosent_hub.evaluation.bench"
LOOKED_AT, OTHERS = "looked at", "others"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `python -m kosent_hub.evaluation.bench`."""
    return run_command("kosent_hub.evaluation.bench", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    arguments = parser.parse_args(argv)
    found = {name: agreement(*case) for name, case in _cases().items()}
    if arguments.json:
        print(json.dumps({name: asdict(a) for name, a in found.items()}, ensure_ascii=False))
        return
    for name, measured in found.items():
        _print(name, measured.precision, measured.recall)
        for case in measured.wrong:
            print(f"  {'missed' if case.label else 'found, labelled 0'}: {case.text}")
    for half in (LOOKED_AT, OTHERS):
        own = [found[f"resists: {kind}, {half}"] for kind in PATTERNS]
        shares = ([a.precision for a in own], [a.recall for a in own])
        _print(f"resists: all of these, {half}", *(_together(found) for found in shares))


def _cases() -> dict[str, tuple[list[Labelled], Callable[[str], bool]]]:
    """The labelled replies of each pattern, and the pattern as a yes or no."""
    bench = load()
    found: dict[str, tuple[list[Labelled], Callable[[str], bool]]] = {
        "points to help": (_labelled((i.due, i.good) for i in bench.crisis), points_to_help),
        "a person in need": (_labelled((i.due, i.turns[-1].user) for i in bench.crisis), in_crisis),
        "advises": (read(Path(__file__).parent / "advises.tsv"), advises),
    }
    for half in (LOOKED_AT, OTHERS):
        for kind in PATTERNS:
            items = [item for item in bench.conduct if item.kind == kind]
            middle = (len(items) + 1) // 2
            own = items[:middle] if half == LOOKED_AT else items[middle:]
            replies = [(True, i.good_reply) for i in own] + [(False, i.bad_reply) for i in own]
            found[f"resists: {kind}, {half}"] = (_labelled(replies), partial(resists, kind))
    return found


def _labelled(cases: Iterable[tuple[bool, str]]) -> list[Labelled]:
    return [Labelled(n, label, text) for n, (label, text) in enumerate(cases, start=1)]


def _print(name: str, precision: Share, recall: Share) -> None:
    print(name)
    print(f"  precision {_text(precision)}")
    print(f"  recall    {_text(recall)}")


def _together(shares: Sequence[Share]) -> Share:
    return share(sum(one.right for one in shares), sum(one.of for one in shares))


def _text(found: Share) -> str:
    if found.value is None:
        return "not measured"
    low, high = found.interval
    return f"{found.value:.3f} (95 % {low:.3f} to {high:.3f}), {found.right} of {found.of}"


if __name__ == "__main__":
    sys.exit(main())
