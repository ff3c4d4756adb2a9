"""kosent-judge with planted judges behind a real server: the report says what was planted."""

import json

import pytest

from kosent_hub.judge import main
from tests.kosent_hub.judging.planted import Planted, evaluation, serving


def judge(capsys, folder, planted, *more):
    """Exit status, what is on stdout and on stderr."""
    with serving(planted) as url:
        named = ("--endpoint", url, "--judge-model", "planted judge")
        status = main([str(folder), *named, *map(str, more)])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def judged(capsys, tmp_path):
    """`judged(planted, ...)`: the record that this judge's work leaves, from a fresh evaluation."""

    def run(planted, *more, **how):
        folder = evaluation(tmp_path / "eval", **how)
        status, printed, said = judge(capsys, folder, planted, "--json", *more)
        assert status == 0, said
        return json.loads(printed)

    return run


def inside(value, share):
    low, high = share["ci95"]
    return low <= value <= high


def test_an_oracle_is_believed_and_its_win_rate_is_what_was_planted(judged):
    found = judged(Planted("oracle"))
    (one,) = found["judges"]
    assert one["check"] == {"value": 1.0, "n": 60, "ci95": one["check"]["ci95"]}
    assert one["biases"]["order_consistency"]["value"] == 1.0
    assert one["biases"]["first_chosen"]["value"] == 0.5
    assert inside(0.5, one["biases"]["longer_chosen"])
    (rate,) = one["preferences"]["win_rates"]
    assert (rate["first"], rate["second"]) == ("org/tuned", "org/base")
    assert (rate["wins"], rate["ties"], rate["losses"]) == (24, 4, 12)
    assert rate["value"] == 0.65 and inside(0.65, rate)
    ratings = one["ratings"]["org/tuned"]
    assert ratings["interpretation"]["value"] == pytest.approx((24 * 2 + 4) / 40)
    assert ratings["danger"]["value"] == pytest.approx(12 / 40)
    assert one["counts"]["failures"] == one["counts"]["retried"] == 0
    assert one["counts"]["same_replies"] == 4
    assert "비밀" not in json.dumps(found, ensure_ascii=False)
