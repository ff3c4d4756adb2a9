"""The first tenth of what `make fuzz` tries."""

from __future__ import annotations

import pytest

from tests.robustness.fuzz.found import INPUTS
from tests.robustness.fuzz.run import run


@pytest.mark.slow
def test_mutated_files_keep_the_promises() -> None:
    tried = INPUTS // 10
    ends = run(tried, say=lambda _: None)
    assert ends.total() == tried
    # Mutations that nothing survives, or that break nothing, try little.
    assert min(ends["exit status 0"], ends["exit status 2"]) > tried // 20
