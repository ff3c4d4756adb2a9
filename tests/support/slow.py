"""Which slow tests run: a draw by a seed, from the seconds that each took when all last ran.

`make test-slow RECORD=1` runs them all and writes durations.json, and docs/slow-tests.md from it.
"""

from __future__ import annotations

import datetime
import json
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

DURATIONS = Path(__file__).with_name("durations.json")
PAGE = ROOT / "docs" / "slow-tests.md"
# Seconds of recorded durations that a draw comes to at most, and a test nobody has timed counts as.
MOST_SECONDS, UNKNOWN_SECONDS = 480, 30
# What every draw begins with: the whole way once, from AI Hub's files to the card on the Hub.
ALWAYS = "tests/whole/test_the_way.py"

HEAD = """\
# The slow tests

`make test` leaves out what takes minutes. CI draws from it by the commit's hash, up to eight
minutes, so that over a few landings all of it runs; the whole way (`tests/whole/test_the_way.py`)
is in every draw. `make test-slow` runs everything, and `make test-slow SEED=HASH` what that
commit's CI drew. Tests over five minutes, or with an environment of their own, are marked `long`:
no draw has them. This page and `tests/support/durations.json` are written by
`make test-slow RECORD=1`.

"""


def draw(names: Iterable[str], seed: str) -> set[str]:
    """The tests of this seed's draw, of those named."""
    known = durations()
    order = sorted(names)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: not name.startswith(ALWAYS))
    drawn, seconds = set(), 0.0
    for name in order:
        took = known[name]["seconds"] if name in known else UNKNOWN_SECONDS
        if seconds + took <= MOST_SECONDS:
            drawn.add(name)
            seconds += took
    return drawn


def durations() -> dict[str, dict[str, Any]]:
    """What is recorded of each slow test: `seconds`, `commit`, `date`, and whether it is `long`."""
    return json.loads(DURATIONS.read_text("utf-8")) if DURATIONS.is_file() else {}


def record(reports: Iterable[pytest.TestReport]) -> None:
    """Write down what the tests of a run took, setup and teardown included, at least 0.1 s.

    What did not pass keeps its last time, and so do the tests of files that the run had none of. In
    its files, what is not in the run is no test any more.
    """
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    before, now, new = durations(), {}, {}
    for report in reports:
        entry = now.setdefault(report.nodeid, {"seconds": 0.0, "passed": set(), "long": False})
        entry["seconds"] += report.duration
        entry["passed"] |= {report.when} if report.passed else set()
        entry["long"] |= "long" in report.keywords
    for name, entry in now.items():
        if entry["passed"] == {"setup", "call", "teardown"}:
            seconds = max(round(entry["seconds"], 1), 0.1)
            date = datetime.date.today().isoformat()
            new[name] = {"seconds": seconds, "date": date, "commit": commit, "long": entry["long"]}
        elif name in before:
            new[name] = before[name]
    ran = {name.split("::")[0] for name in now}
    for name, entry in before.items():
        file = name.split("::")[0]
        if file not in ran and (ROOT / file).is_file():
            new[name] = entry
    text = json.dumps(new, indent=0, sort_keys=True, ensure_ascii=False)
    DURATIONS.write_text(f"{text}\n", "utf-8")
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """The page's text."""
    known = durations()
    long = {name: entry for name, entry in known.items() if entry["long"]}
    files: dict[str, list[dict[str, Any]]] = {}
    for name, entry in known.items():
        if name not in long:
            files.setdefault(name.split("::")[0], []).append(entry)
    lines = [HEAD + "## Long", "", "| test | last ran | commit | seconds |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {entry['date']} | {entry['commit']} | {entry['seconds']:.0f} |"
        for name, entry in sorted(long.items())
    ]
    lines += ["", "## The others", "", "| file | tests | seconds |", "|---|---|---|"]
    lines += [
        f"| `{file}` | {len(entries)} | {sum(entry['seconds'] for entry in entries):,.0f} |"
        for file, entries in sorted(files.items())
    ]
    return "\n".join(lines) + "\n"
