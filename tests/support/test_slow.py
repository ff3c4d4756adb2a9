"""The draw of slow tests: repeatable, bounded, in the long run of all of them; its record."""

from __future__ import annotations

import json

import pytest

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


def test_the_whole_way_is_in_every_draw():
    whole_way = f"{slow.ALWAYS}::test"
    names = [whole_way, *(f"new {number}" for number in range(1000))]
    assert all(whole_way in slow.draw(names, str(seed)) for seed in range(40))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty record, and a page of it, that are not the repository's own."""
    monkeypatch.setattr(slow, "DURATIONS", tmp_path / "durations.json")
    monkeypatch.setattr(slow, "PAGE", tmp_path / "slow-tests.md")


def reports(name, seconds, call="passed", keywords=()):
    """What pytest reports of one test: three phases, of so many seconds."""
    for when, took in zip(("setup", "call", "teardown"), seconds, strict=True):
        outcome = call if when == "call" else "passed"
        place = (name.split("::")[0], 1, name)
        yield pytest.TestReport(
            name, place, dict.fromkeys(keywords, 1), outcome, None, when, duration=took
        )


def test_all_phases_of_a_test_are_recorded_and_no_test_takes_nothing(elsewhere):
    slow.record(
        [
            *reports("tests/a.py::fixture", (3.0, 0.01, 1.5)),
            *reports("tests/a.py::instant", (0.01, 0.01, 0.01), keywords=["long"]),
        ]
    )
    found = {name: (entry["seconds"], entry["long"]) for name, entry in slow.durations().items()}
    assert found == {"tests/a.py::fixture": (4.5, False), "tests/a.py::instant": (0.1, True)}
    assert slow.PAGE.read_text("utf-8") == slow.page()


def test_a_failed_test_keeps_its_last_time_and_one_that_is_gone_does_not(elsewhere):
    last = {"seconds": 7.0, "date": "2026-01-01", "commit": "abcdef0", "long": False}
    names = ("tests/a.py::gone", "tests/a.py::failed", "tests/a.py::skipped")
    slow.DURATIONS.write_text(json.dumps(dict.fromkeys(names, last)), "utf-8")
    slow.record(
        [
            *reports("tests/a.py::failed", (0.0, 1.0, 0.0), call="failed"),
            *reports("tests/a.py::skipped", (0.0, 1.0, 0.0), call="skipped"),
            *reports("tests/a.py::new, failed", (0.0, 1.0, 0.0), call="failed"),
        ]
    )
    assert slow.durations() == {"tests/a.py::failed": last, "tests/a.py::skipped": last}


def test_what_the_run_had_no_test_of_keeps_its_times(elsewhere):
    last = {"seconds": 7.0, "date": "2026-01-01", "commit": "abcdef0", "long": False}
    names = ("tests/conftest.py::kept", "tests/no_such.py::gone")
    slow.DURATIONS.write_text(json.dumps(dict.fromkeys(names, last)), "utf-8")
    slow.record(reports("tests/a.py::run", (0.0, 1.0, 0.0)))
    assert slow.durations().keys() == {"tests/conftest.py::kept", "tests/a.py::run"}


def test_the_page_says_what_is_recorded():
    assert slow.PAGE.read_text("utf-8") == slow.page(), "run: make test-slow RECORD=1"
