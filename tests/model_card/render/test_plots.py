"""Pictures that depend on the records and on nothing else."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys

import pytest
from PIL import Image

from model_card.facts import gather_folder
from model_card.render.curves import read_curve, read_validation
from model_card.render.plots import emotion_plot, series, training_plots
from tests.model_card.cards import RECORDS

FACTS = gather_folder(RECORDS / "adapter")


def test_a_picture_for_each_logged_curve_with_nothing_in_it_but_pixels():
    plots = training_plots(FACTS.log_history)
    assert list(plots) == ["loss.png", "mean_token_accuracy.png", "learning_rate.png"]
    for png in plots.values():
        image = Image.open(io.BytesIO(png))
        assert image.size == (960, 600)
        assert set(image.info) <= {"dpi"}
        assert len(png) < 150_000


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_under_any_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\naxes.facecolor: red\n")
    code = """
import hashlib
from model_card.facts import gather_folder
from model_card.render.plots import emotion_plot, training_plots
from tests.model_card.cards import RECORDS
facts = gather_folder(RECORDS / "adapter")
plots = [*training_plots(facts.log_history).values(), emotion_plot(facts.results[0])]
print(hashlib.sha256(b"".join(plots)).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for env in ({}, {"MATPLOTLIBRC": str(tmp_path), "LC_ALL": "C"})
    }
    assert len(digests) == 1


def test_what_was_not_logged_has_no_picture():
    assert training_plots([{"train_runtime": 3.0, "step": 5}, {"loss": 1.0, "step": 5}]) == {}
    assert emotion_plot(gather_folder(RECORDS / "adapter-no-baseline").results[0]) is not None


def test_numbers_that_are_none_are_left_out():
    log = [{"loss": math.nan, "step": 1}, {"loss": 2.0, "step": 2}, {"loss": "x", "step": 3}]
    assert series([*log, {"loss": 1.0, "step": None}, {"loss": True, "step": 4}], "loss") == [
        (2, 2.0)
    ]


def falling(step):
    return 1.0 + math.exp(-step / 10)


def test_a_curve_that_flattens_is_read_so():
    reading = read_curve([{"loss": falling(s), "step": s} for s in range(1, 101)], "loss")
    assert reading is not None
    assert (reading.half, reading.most, reading.flat) == (9, 25, True)
    assert (round(reading.first, 2), round(reading.last, 2)) == (1.90, 1.00)


def test_a_curve_that_still_falls_is_read_so():
    reading = read_curve([{"loss": 2 - s / 100, "step": s} for s in range(1, 101)], "loss")
    assert reading is not None
    assert (reading.half, reading.most, reading.flat) == (51, 91, False)


def test_a_few_points_have_ends_but_no_shape():
    reading = read_curve([{"loss": 2 - s / 10, "step": s} for s in range(1, 6)], "loss")
    assert reading is not None
    assert (reading.first, reading.last, reading.half, reading.most) == (1.9, 1.5, None, None)
    assert read_curve([{"loss": 1.0, "step": 1}], "loss") is None


def test_a_curve_that_stays_did_not_move():
    reading = read_curve([{"loss": 2.0 + s % 2 / 1000, "step": s} for s in range(50)], "loss")
    assert reading is not None
    assert (reading.moved, reading.half) == (False, None)


def test_validation_that_turns_up_again_is_noticed():
    train = [{"loss": falling(s), "step": s} for s in range(1, 101)]
    evals = [{"eval_loss": v, "step": s} for s, v in ((30, 1.30), (60, 1.20), (100, 1.35))]
    validation = read_validation(train + evals)
    assert validation is not None
    assert (validation.rose, validation.best_step, validation.best) == (True, 60, 1.20)
    assert round(validation.gap, 2) == 0.35
    steady = read_validation(train + evals[:2])
    assert steady is not None and not steady.rose
    assert read_validation(train) is None
