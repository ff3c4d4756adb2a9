"""Changed at random, no adapter, header or template makes more than one line, or takes long."""

import os

import pytest

from tests.robustness.fuzz.models import fuzz

COUNT = int(os.environ.get("KOSENT_FUZZ_MODELS", "60"))  # of each kind


@pytest.mark.slow
def test_models_changed_at_random_are_loaded_or_refused_in_a_line(tiny_llama):
    tried = fuzz(tiny_llama, 0, COUNT)
    assert not tried.bugs, "\n".join(tried.bugs)
    assert sum(tried.ends.values()) == 3 * COUNT
    assert tried.slowest < 60, tried.slowest  # templates have ten seconds of their own
    for end in ("config loaded", "config refused", "header refused", "template refused"):
        assert tried.ends[end], tried.ends
