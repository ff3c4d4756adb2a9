"""What the numbers stand on: reference points, rows, tokenizers, finite values, fair baselines."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosent_hub import metrics
from kosent_hub.evaluate import main
from kosent_hub.evaluation.backends import TargetScore
from kosent_hub.evaluation.prompting import Prompting, choose_examples
from kosent_hub.evaluation.reference_points import _derangement, usual_reply
from kosent_hub.evaluation.samples import Sample, load_samples
from kosent_hub.evaluation.table import table
from kosent_hub.models.data.chat_dataset import read_splits
from model_card.publishing.errors import KoSentError
from model_card.records import Results, read
from tests.kosent_hub.dialogues import SYSTEM, write_dataset

QUICK = ("--embedder", "none", "--max-new-tokens", "8", "--no-safety")
USUAL = "그랬군요. 많이 힘드셨겠어요."


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """40 dialogues of 79 replies in the test split, 12 in training, some of whose replies agree."""
    folder = write_dataset(tmp_path_factory.mktemp("numbers") / "chat", 40)
    write_train(
        folder, [["말 0.0", "답"], *([f"말 {i}", USUAL if i % 3 else f"답 {i}"] for i in range(11))]
    )
    return folder


def write_train(folder, dialogues):
    rows = [
        {
            "dialogue_id": f"t{number}",
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": user},
                {"role": "assistant", "content": reply},
            ],
            "emotion_major": "기쁨",
        }
        for number, (user, reply) in enumerate(dialogues)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00001.parquet")


def evaluate(*arguments):
    return main([str(argument) for argument in arguments])


def record(folder):
    def refuse(text):
        raise AssertionError(f"{text} in results.json")

    return json.loads((folder / "results.json").read_text("utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def compared(tiny_llama, dataset, tmp_path_factory):
    """An evaluation beside the same model with another tokenizer, system message and examples."""
    place = tmp_path_factory.mktemp("compared")
    other = place / "other"
    shutil.copytree(tiny_llama, other)
    path = other / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-20]
    path.write_text(json.dumps(tokenizer), "utf-8")
    (place / "system.txt").write_text("친구처럼 답하세요.\n", "utf-8")
    status = evaluate(
        *("--model", tiny_llama, "--baseline", other, "--dataset", dataset, *QUICK),
        *("--baseline-system-prompt", place / "system.txt", "--few-shot", 2),
        *("--output", place / "out"),
    )
    assert status == 0
    return place / "out"


def test_reference_points_are_means_and_ranges_of_other_dialogues_replies(compared, dataset):
    found = record(compared)["references"]
    assert found.keys() == {"shuffled", "copy_user", "constant"}
    shuffled = found["shuffled"]
    assert (shuffled["samples"], shuffled["draws"]) == (79, 20)
    low, high = shuffled["metrics"]["chrf"]["range"]
    assert low < shuffled["metrics"]["chrf"]["value"] < high
    samples, _, _ = load_samples(str(dataset), "test")
    targets = [sample.target for sample in samples]
    constant = metrics.chrf([USUAL] * len(targets), targets).value
    assert found["constant"]["metrics"]["chrf"]["value"] == pytest.approx(constant)
    assert USUAL not in (compared / "results.json").read_text("utf-8")


def test_shuffled_replies_are_another_dialogues_and_each_stands_once():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 6, size=rng.integers(2, 9))
        rows = np.repeat(np.arange(len(sizes)), sizes)
        if 2 * sizes.max() > len(rows):
            continue
        order = _derangement(rows, rng)
        assert sorted(order) == list(range(len(rows)))
        assert (rows[order] != rows).all()


def test_one_dialogue_has_no_reference_of_other_dialogues(tiny_llama, tmp_path):
    dataset = write_dataset(tmp_path / "chat", 1)
    evaluate("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", tmp_path / "out")
    found = record(tmp_path / "out")
    assert found["references"].keys() == {"copy_user"}
    with_interval = {name for name, metric in found["metrics"].items() if metric["ci95"]}
    assert with_interval <= {"retention_ko", "retention_en"}  # of ten paragraphs


def test_the_usual_reply_is_the_first_of_the_most_frequent(dataset, tmp_path):
    rows = read_splits(str(dataset), "test", "--split", optional=["train"])
    assert usual_reply(rows["train"]) == USUAL
    other = write_dataset(tmp_path / "chat", 1)
    write_train(other, [["가", "나"], ["가", "가"], ["가", ""], ["가", ""], ["가", ""]])
    assert usual_reply(read_splits(str(other), "train", "--split")["train"]) == "가"


def test_values_per_token_are_compared_under_one_tokenizer_only(compared, capsys):
    found = record(compared)
    ours, theirs = found["model"]["tokenizer"], found["baseline"]["model"]["tokenizer"]
    assert ours["sha256"] != theirs["sha256"]
    comparison = found["baseline"]["comparison"]
    assert {"perplexity", "token_accuracy"}.isdisjoint(comparison)
    assert comparison["bits_per_byte"]["p_adjusted"] is not None
    for side in (found, found["baseline"]):
        assert {"perplexity", "token_accuracy", "bits_per_byte"} <= side["metrics"].keys()


def test_verdicts_are_of_all_metrics_together(compared):
    found = record(compared)
    family = {
        name: comparison["p_value"]
        for name, comparison in found["baseline"]["comparison"].items()
        if comparison["p_value"] is not None
        and found["metrics"][name]["higher_is_better"] is not None
    }
    adjusted = metrics.holm(family, found["primary"])
    assert found["primary"] == "chrf" in family
    assert len(family) > 5
    for name, p_value in adjusted.items():
        assert found["baseline"]["comparison"][name]["p_adjusted"] == pytest.approx(p_value)
    assert found["resampling"]["trials"] == 10_000
    assert re.fullmatch(r"3-[0-9a-f]{8}", found["task_version"])


def test_a_baseline_may_have_its_own_system_message_and_examples(compared):
    found = record(compared)
    title = table(read(Results, compared / "results.json")).splitlines()[2]
    assert title == (
        "baseline: other, 2 training dialogues as examples, a system message of its own"
    )
    theirs = found["baseline"]["protocol"]
    assert (found["protocol"]["system_prompt"], found["protocol"]["few_shot"]) == (SYSTEM, 0)
    assert (theirs["system_prompt"], theirs["few_shot"]) == ("친구처럼 답하세요.", 2)
    assert found["settings"]["few_shot"] == 2
    assert len(found["settings"]["baseline_system_prompt"]) == 12


def test_examples_are_training_dialogues_and_never_the_samples_own(dataset):
    samples, _, train = load_samples(str(dataset), "test")
    examples = choose_examples(train, "chat", 11, seed=3)
    assert len(examples) == 12
    assert examples == choose_examples(train, "chat", 11, seed=3)
    assert examples != choose_examples(train, "chat", 11, seed=4)
    helped = Prompting("친구야.", 11, examples).prompted(samples)
    for sample, changed in zip(samples, helped, strict=True):
        own = sample.messages[1:]
        assert changed.messages[0] == {"role": "system", "content": "친구야."}
        assert changed.messages[-len(own) :] == own
        shown = [m["content"] for m in changed.messages[1 : -len(own)]]
        assert len(shown) == 22
        # The first training dialogue begins as the first sample's does.
        assert own[0]["content"] not in shown
        assert (changed.target, changed.row) == (sample.target, sample.row)
    assert Prompting().prompted(samples) == samples


def test_examples_that_are_not_there_are_missed_in_a_line(tiny_llama, dataset, tmp_path, capsys):
    alone = write_dataset(tmp_path / "chat", 1)
    _, _, train = load_samples(str(alone), "test")
    with pytest.raises(KoSentError, match="has no split 'train' to take examples from"):
        choose_examples(train, "chat", 2, seed=0)
    _, _, train = load_samples(str(dataset), "test")
    with pytest.raises(KoSentError, match="--few-shot 12: the training split has 12 dialogues"):
        choose_examples(train, "chat", 12, seed=0)
    base = ("--model", tiny_llama, "--dataset", alone)
    assert evaluate(*base, "--baseline-system-prompt", "x") == 2
    assert "there is no baseline; add --baseline" in capsys.readouterr().err
    assert evaluate(*base, "--primary-metric", "charm") == 2
    assert "--primary-metric charm: no such metric" in capsys.readouterr().err


@pytest.mark.slow
def test_dialogues_are_told_apart_by_their_place(tiny_llama, tmp_path):
    values = []
    for name, ids in (("own", None), ("same", "d"), ("none", "")):
        dataset = write_dataset(tmp_path / name, 6)
        path = dataset / "data" / "test-00000-of-00001.parquet"
        rows = pq.read_table(path).to_pylist()
        if ids is not None:
            rows = [row | {"dialogue_id": ids} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows), path)
        out = tmp_path / f"{name}-out"
        evaluate("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", out)
        found = record(out)["metrics"]
        values.append({name: metric["value"] for name, metric in found.items()})
    assert values[0] == values[1] == values[2]


@pytest.mark.slow
def test_what_is_not_finite_is_null_counted_and_without_a_verdict(
    tiny_llama, dataset, tmp_path, capsys
):
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_llama, broken)
    weights = load_file(broken / "model.safetensors")
    name = max(
        weights, key=lambda name: "norm" in name and len(name) < len("model.norm.weight") + 1
    )
    weights[name] = np.full_like(weights[name], np.nan)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    command = ("--model", broken, "--baseline", tiny_llama, "--dataset", dataset, *QUICK)
    assert evaluate(*command, "--limit", 12, "--output", tmp_path / "out") == 0
    said = capsys.readouterr()
    found = record(tmp_path / "out")
    assert found["counts"]["targets_not_finite"] == 12
    for name in ("perplexity", "bits_per_byte"):
        assert found["metrics"][name]["value"] is None
        assert found["metrics"][name]["ci95"] is None
        assert name not in found["baseline"]["comparison"]
    assert "12 true replies have no finite likelihood" in said.out


def test_what_was_forgotten_is_the_likelihood_of_plain_paragraphs(compared, tiny_llama):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from kosent_hub.evaluation.retention import retention_samples

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    bits = size = 0.0
    for text in (text.target for text in retention_samples() if text.dialogue_id == "ko"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        rows = torch.tensor([[tokenizer.bos_token_id, *ids]])
        with torch.inference_mode():
            loss = model(input_ids=rows, labels=rows).loss.item()
        bits += loss * len(ids) / np.log(2)
        size += len(text.encode())
    found = record(compared)["metrics"]
    assert found["retention_ko"]["value"] == pytest.approx(bits / size, rel=1e-5)
    assert found["retention_en"]["unit"] == "bits per byte"


def test_perplexity_of_a_huge_loss_or_of_no_tokens_is_not_measured():
    from kosent_hub.evaluation.scoring import measure_targets

    scores = [
        TargetScore(i, *s)
        for i, s in enumerate([(5000.0, 0, 2), (0.0, 0, 0), (2 * np.log(3), 1, 2)])
    ]
    sample = Sample("d#1", "d", 0, [], "안녕")
    found = measure_targets(scores, [sample] * 3)
    assert np.isnan(found["perplexity"].value)
    assert found["perplexity"].per_sample == pytest.approx([np.nan, np.nan, 3], nan_ok=True)
    assert found["token_accuracy"].value == 0.25
    # "안녕" is six bytes; a reply without tokens was not scored.
    bits = [5000 / np.log(2) / 6, np.nan, 2 * np.log2(3) / 6]
    assert found["bits_per_byte"].per_sample == pytest.approx(bits, nan_ok=True)
    scores[0] = TargetScore(0, float("nan"), 0, 2)
    assert np.isnan(measure_targets(scores, [sample] * 3)["bits_per_byte"].value)
