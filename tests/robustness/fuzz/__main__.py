"""`python -m tests.robustness.fuzz [COUNT [FIRST]]`."""

from __future__ import annotations

import sys

from tests.robustness.fuzz.found import INPUTS
from tests.robustness.fuzz.run import run

given = [int(number) for number in sys.argv[1:]]
count, first = (given + [INPUTS, 0][len(given) :])[:2]
print(f"{count:,} inputs: {dict(run(count, first))}")
