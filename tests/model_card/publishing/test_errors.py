"""Errors on their way to the line that a user reads."""

from __future__ import annotations

import json

import pytest

from model_card.publishing.errors import AGAIN, KoSentError, explain, next_step, user_error


@pytest.mark.parametrize(
    ("remedy", "then"),
    [
        (f"wait a while, then {AGAIN}", "wait a while, then push it"),
        ("use another token", "use another token; then push it"),
        ("", "then push it"),
    ],
)
def test_a_next_step_changes_the_remedy_alone(remedy: str, then: str) -> None:
    with pytest.raises(KoSentError) as raised, next_step("push it"):
        raise KoSentError("alice/model", "not pushed", remedy)
    error = raised.value
    assert (error.where, error.what, error.remedy) == ("alice/model", "not pushed", then)


def test_a_bug_stays_a_bug_whatever_the_next_step() -> None:
    with pytest.raises(ZeroDivisionError), next_step("push it"):
        _ = 1 / 0


def test_a_line_has_no_secrets_and_no_line_breaks() -> None:
    error = KoSentError("https://alice:secret@hub.test/a", "refused\n hf_" + "a" * 20)
    assert explain(error) == "https://...@hub.test/a: refused ..."


def test_the_hub_s_errors_are_found_below_those_that_wrap_them() -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    wrapped = ValueError("no dataset")
    wrapped.__cause__ = OfflineModeIsEnabled("offline")
    found = user_error(wrapped)
    assert found is not None
    assert (found.where, found.what) == ("", "HF_HUB_OFFLINE=1 is set, but this needs the Hub")
    assert user_error(json.JSONDecodeError("none", "", 0)) is None
    assert user_error(OSError("without a number")) is None
