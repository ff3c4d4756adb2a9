"""Replies drawn at a temperature, with one seed and with several."""

import json
import math
import re
import shutil

import pyarrow.parquet as pq
import pytest

from kosent_hub.evaluate import main
from kosent_hub.evaluation import Options
from model_card.publishing.errors import KoSentError
from model_card.records import Results, loads
from tests.kosent_hub.adapters import write_adapter
from tests.kosent_hub.dialogues import write_dataset

QUICK = ("--embedder", "none", "--max-new-tokens", "8", "--dtype", "float32")
DRAWN = ("--temperature", "2", "--seeds", "2")
TRUE_REPLIES = ("perplexity", "token_accuracy", "bits_per_byte", "retention_ko", "retention_en")
SAFETY = ("safety_crisis_referral", "safety_harmless_referral")


def evaluate(*arguments):
    return main([str(argument) for argument in (*arguments, *QUICK)])


def record(folder):
    return json.loads((folder / "results.json").read_text("utf-8"))


def columns(folder):
    return pq.read_table(folder / "samples.parquet").to_pydict()


def stored(folder):
    lines = (folder / "completions-0.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


@pytest.fixture(scope="module")
def models(tiny_llama, tmp_path_factory):
    """A model, and one that replies otherwise."""
    place = tmp_path_factory.mktemp("models")
    return write_adapter(tiny_llama, place / "tuned", std=0.5), shutil.copytree(
        tiny_llama, place / "base"
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "chat", 12)


@pytest.fixture(scope="module")
def drawn(models, dataset, tmp_path_factory):
    """The folder of an evaluation with two seeds, against a baseline, safety prompts too."""
    folder = tmp_path_factory.mktemp("drawn")
    model, base = models
    given = ("--model", model, "--baseline", base, "--dataset", dataset, "--safety")
    assert evaluate(*given, *DRAWN, "--output", folder) == 0
    return folder


@pytest.fixture(scope="module")
def alone(models, dataset, drawn, tmp_path_factory):
    """The folders of the model with one seed each, on the replies that `drawn` has."""
    folders = []
    for seed in range(2):
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        shutil.copy(drawn / "completions-0.jsonl", folder)
        given = ("--model", models[0], "--dataset", dataset, "--no-safety", "--output", folder)
        assert evaluate(*given, "--temperature", "2", "--seed", seed) == 0
        assert stored(folder) == stored(drawn), "a reply was made again"
        folders.append(folder)
    return folders


@pytest.mark.slow
def test_each_value_is_the_mean_over_the_seeds_with_their_range(drawn, alone):
    found, single = record(drawn), [record(folder) for folder in alone]
    assert found["metrics"].keys() == {*single[0]["metrics"], *SAFETY}
    moved = set()
    for name in single[0]["metrics"]:
        metric = found["metrics"][name]
        values = [one["metrics"][name]["value"] for one in single]
        if name in TRUE_REPLIES:
            assert metric["value"] in values and metric["range"] is None
        elif name.startswith("distinct"):  # at the smallest number of morphemes of all draws
            low, high = metric["range"]
            assert low <= metric["value"] <= high
        else:
            values = [value for value in values if value is not None]
            mean = pytest.approx(sum(values) / len(values)) if values else None
            assert metric["value"] == mean
            assert metric["range"] == ([min(values), max(values)] if values else None)
            moved |= {name} if len(set(values)) > 1 else set()
    assert "length_ratio" in moved
    for name, comparison in found["baseline"]["comparison"].items():
        ours, theirs = found["metrics"][name], found["baseline"]["metrics"][name]
        assert comparison["difference"] == ours["value"] - theirs["value"]
        assert theirs["range"] is not None or name in TRUE_REPLIES
    assert all(metric["range"] is None for metric in single[0]["metrics"].values())


@pytest.mark.slow
def test_safety_shares_are_means_over_the_seeds_too(drawn):
    lines = [json.loads(line) for line in (drawn / "safety.jsonl").read_text("utf-8").splitlines()]
    lines = [line for line in lines if line["model"] == "model"]
    assert [line["seed"] for line in lines] == [0] * 160 + [1] * 160
    for kind in ("crisis", "harmless"):
        metric = record(drawn)["metrics"][f"safety_{kind}_referral"]
        helped = [[], []]
        for line in lines:
            if line["due"] == (kind == "crisis"):
                helped[line["seed"]].append(line["points_to_help"])
        shares = [sum(found) / 80 for found in helped]
        assert metric["n"] == len(helped[0]) + len(helped[1]) == 160
        assert metric["value"] == pytest.approx(sum(shares) / 2)
        assert metric["range"] == pytest.approx([min(shares), max(shares)])


@pytest.mark.slow
def test_equal_replies_under_more_seeds_make_nothing_surer(models, dataset, tmp_path):
    model, base = models
    given = ("--model", model, "--baseline", base, "--dataset", dataset, "--no-safety")
    assert evaluate(*given, "--output", tmp_path / "greedy") == 0
    cold = ("--temperature", "1e-6", "--seeds", "3", "--output", tmp_path / "cold")
    assert evaluate(*given, *cold) == 0
    greedy, found = record(tmp_path / "greedy"), record(tmp_path / "cold")
    assert columns(tmp_path / "cold")["prediction"] == columns(tmp_path / "greedy")["prediction"]
    assert greedy["metrics"]["length_ratio"]["ci95"] is not None
    for name, metric in greedy["metrics"].items():
        assert found["metrics"][name]["value"] == pytest.approx(metric["value"])
        assert found["metrics"][name]["ci95"] == pytest.approx(metric["ci95"])
    for name, comparison in greedy["baseline"]["comparison"].items():
        theirs = found["baseline"]["comparison"][name]
        assert theirs["p_value"] == pytest.approx(comparison["p_value"])
        assert theirs["ci95"] == pytest.approx(comparison["ci95"])
    assert found["by_emotion"] == greedy["by_emotion"]


@pytest.mark.slow
def test_the_record_and_the_samples_say_how_replies_were_drawn(drawn, alone):
    found = record(drawn)
    assert found["settings"]["temperature"] == 2 and found["settings"]["seeds"] == 2
    for protocol in (found["protocol"], found["baseline"]["protocol"]):
        generation = protocol["generation"]
        assert generation["seeds"] == [0, 1]
        assert generation["do_sample"] is True and generation["temperature"] == 2
        assert (generation["top_p"], generation["top_k"], generation["min_p"]) == (1, 0, 0)
    assert record(alone[1])["protocol"]["generation"]["seeds"] == [1]
    table, single = columns(drawn), [columns(folder) for folder in alone]
    for name in ("prediction", "stop", "chrf"):
        assert table[name] == single[0][name]
    both = zip(*(one["prediction"] for one in single), strict=True)
    assert table["predictions"] == [list(texts) for texts in both]
    assert "predictions" not in single[0]
    assert table["baseline"] == [texts[0] for texts in table["baseline_predictions"]]
    assert table["baseline"] != [texts[1] for texts in table["baseline_predictions"]]
    cut = [one["counts"]["truncated"] for one in map(record, alone)]
    assert found["counts"]["truncated"] == sum(cut) > 0
    fits = [line for line in stored(drawn) if "nll" in line and line["id"].startswith("d")]
    assert len(fits) == 2 * found["dataset"]["samples"], "true replies are scored once"


@pytest.mark.slow
def test_the_table_and_the_card_say_so(drawn):
    from kosent_hub.evaluation.table import table
    from model_card.facts import Facts
    from model_card.render.card import render_facts

    found = loads(Results, (drawn / "results.json").read_text("utf-8"), "here")
    printed = table(found).splitlines()
    assert re.search(r"model +95 % interval +seeds +difference", "\n".join(printed))
    low, high = found.metrics["length_ratio"].range
    row = next(line for line in printed if line.startswith("Length ratio"))
    assert f"{low:.2f} to {high:.2f}" in row
    assert any(line.startswith("replies drawn with 2 seeds: ") for line in printed)
    card = render_facts(Facts(results=[found]), repo_id="me/model", language="both")
    assert "sampling at temperature 2.0). They were drawn with 2 seeds: values are means" in card
    assert "sampling, 온도 2.0). 시드 2개로 한 번씩 뽑았습니다." in card
    assert f"of the {found.replies} replies" in card


@pytest.mark.slow
def test_the_same_seed_gives_the_same_replies_anew(models, dataset, drawn, tmp_path):
    given = ("--model", models[0], "--dataset", dataset, "--no-safety", "--limit", "3")
    assert evaluate(*given, "--temperature", "2", "--seed", "1", "--output", tmp_path) == 0
    expected = [texts[1] for texts in columns(drawn)["predictions"][:3]]
    assert columns(tmp_path)["prediction"] == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": -0.5}, "--temperature -0.5: must be 0 or more"),
        ({"temperature": math.nan}, "--temperature nan: must be 0 or more"),
        ({"seeds": 0}, "--seeds 0: must be 1 or more"),
        (
            {"seeds": 3},
            "--seeds 3: greedy replies are the same with every seed; add --temperature T",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(given, said):
    with pytest.raises(KoSentError) as error:
        Options(model="m", dataset="d", **given)
    assert str(error.value) == said
