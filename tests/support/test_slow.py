"""The draw of slow tests: repeatable, bounded, and in the long run of all of them."""

from __future__ import annotations

from tests.support import slow


def test_a_draw_is_repeatable_and_takes_no_longer_than_it_may():
    known = slow.durations()
    names = [name for name, entry in known.items() if not entry["long"]]
    drawn = slow.draw(names, "a hash")
    assert drawn == slow.draw(reversed(names), "a hash") != slow.draw(names, "another")
    assert sum(known[name]["seconds"] for name in drawn) > 0.8 * slow.MOST_SECONDS
    assert sum(known[name]["seconds"] for name in drawn) <= slow.MOST_SECONDS


def test_a_few_landings_draw_all_of_them():
    names = [name for name, entry in slow.durations().items() if not entry["long"]]
    draws = [slow.draw(names, str(seed)) for seed in range(40)]
    assert set.union(*draws) == set(names)


def test_a_test_that_nobody_timed_counts_too():
    drawn = slow.draw([f"new {number}" for number in range(100)], "a hash")
    assert len(drawn) == slow.MOST_SECONDS // slow.UNKNOWN_SECONDS


def test_the_page_says_what_is_recorded():
    assert slow.PAGE.read_text("utf-8") == slow.page(), "run: make test-slow RECORD=1"
