"""kosent-eval on models and datasets whose text takes care: templates, contents, recorded facts."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.kosent_hub.dialogues import SYSTEM, write_dataset
from tests.kosent_hub.models.families import TEMPLATES

QUICK = ("--embedder", "none", "--max-new-tokens", "4", "--no-safety")
FACTS = {"switches": {}, "system": "written", "end": "<|im_end|>", "end_of_turn": "written"}


@pytest.fixture
def evaluated(run, worker_hub, tmp_path):
    """`evaluated(model, dataset, ...)`: how the command ended, and its results if there are any."""
    out = tmp_path / "out"

    def evaluate(model: Path, dataset: Path, *more: object):
        command = ["kosent-eval", "--model", model, "--dataset", dataset, "--output", out]
        command += [*QUICK, *more]
        done = run([str(part) for part in command], env=worker_hub.env(None), cwd=tmp_path)
        path = out / "results.json"
        return done, json.loads(path.read_text("utf-8")) if path.exists() else None

    return evaluate


def speaking(base: Path, folder: Path, template: str) -> Path:
    """A copy of the model with another chat template."""
    shutil.copytree(base, folder)
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("refuses_system", {"system": "folded"}),
        ("headings", {"end": "<|im_end|>", "end_of_turn": "eos appended"}),
        ("no_end_when_last", {"end": "<|im_end|>", "end_of_turn": "written"}),
    ],
)
def test_templates_that_were_refused_are_evaluated(name, facts, tiny_llama, tmp_path, evaluated):
    template = (TEMPLATES / f"{name}.jinja").read_text("utf-8")
    template = template.replace("<start_of_turn>", "<|im_start|>")
    template = template.replace("<end_of_turn>", "<|im_end|>")
    model = speaking(tiny_llama, tmp_path / "model", template)
    done, results = evaluated(model, write_dataset(tmp_path / "chat", 4))
    assert done.returncode == 0, done.stderr
    found = results["protocol"]["chat_format"]
    assert {key: found[key] for key in facts} == facts
    assert SYSTEM in results["protocol"]["template_example"]
    assert results["metrics"]["perplexity"]["value"] > 1
    assert results["counts"]["targets_left_out"] == 0


def test_bad_dialogues_are_left_out_listed_and_stop_the_command_if_many(
    tiny_llama, tmp_path, evaluated
):
    def talk(reply):
        return [{"role": "user", "content": "응"}, {"role": "assistant", "content": reply}]

    rows = [{"messages": talk(f"네 {number}")} for number in range(30)]
    rows[7]["messages"][0]["content"] = None
    path = tmp_path / "chat" / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    done, results = evaluated(tiny_llama, tmp_path / "chat")
    assert done.returncode == 0, done.stderr
    assert "test, row 7: a message by user whose content is missing; left out" in done.stderr
    assert results["dataset"]["dropped"] == 1
    assert (results["dataset"]["dialogues"], results["dataset"]["samples"]) == (29, 29)

    done, _ = evaluated(tiny_llama, tmp_path / "chat", "--max-dropped", "0.02")
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "1 of 30 dialogues (3.3%) would be left out, more than --max-dropped 0.02" in line


def test_contents_of_text_parts_are_joined(tiny_llama, tmp_path, evaluated):
    parts = [{"type": "text", "text": "많이"}, {"type": "text", "text": "힘드셨죠."}]
    rows = [
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "힘들어"}]},
                {"role": "assistant", "content": parts},
            ]
        }
    ]
    path = tmp_path / "chat" / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    done, _ = evaluated(tiny_llama, tmp_path / "chat")
    assert done.returncode == 0, done.stderr
    samples = pq.read_table(tmp_path / "out" / "samples.parquet").to_pydict()
    assert (samples["user"], samples["target"]) == (["힘들어"], ["많이 힘드셨죠."])


def test_a_model_trained_with_another_text_is_evaluated_only_when_told(
    tiny_llama, tmp_path, evaluated
):
    dataset = write_dataset(tmp_path / "chat", 3)
    model = speaking(
        tiny_llama, tmp_path / "model", (tiny_llama / "chat_template.jinja").read_text("utf-8")
    )
    (model / "kosent").mkdir()
    record = {"chat_format": {"template_sha256": "0" * 64} | FACTS}
    (model / "kosent" / "run.json").write_text(json.dumps(record))
    done, results = evaluated(model, dataset)
    assert (done.returncode, results) == (2, None)
    line = done.stderr.splitlines()[-1]
    assert "was trained with another chat format (template_sha256 was '0000" in line
    assert "--new-chat-format" in line

    _, results = evaluated(model, dataset, "--new-chat-format")
    assert results["settings"]["new_chat_format"] is True


def test_inspection_shows_one_reply_a_sample_and_names_what_cannot_be_scored(
    tiny_llama, tmp_path, evaluated
):
    template = (TEMPLATES / "think_in_last_turn.jinja").read_text("utf-8")
    model = speaking(tiny_llama, tmp_path / "model", template)
    rows = [
        {
            "messages": [
                {"role": "user", "content": "응"},
                {"role": "assistant", "content": "네."},
                {"role": "user", "content": "뭐?"},
                {"role": "assistant", "content": last},
            ]
        }
        for last in ("그래요.", "흠</think>네")
    ]
    path = tmp_path / "chat" / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    for base, kept in ((tiny_llama, ["0#1", "0#2", "1#1", "1#2"]), (model, ["0#1", "0#2", "1#1"])):
        done, _ = evaluated(base, tmp_path / "chat", "--inspect", "9", "--json")
        assert done.returncode == 0, done.stderr
        samples = json.loads(done.stdout)["samples"]
        assert [sample["title"] for sample in samples] == kept
        for sample in samples:
            assert [part["kind"] for part in sample["parts"]] == ["prompt", "learned", "end"]
            assert sample["same"] and len(sample["evaluated_prompts"]) == 1
        assert samples[1]["parts"][1]["text"] == "그래요."
    assert "1#2: the chat template changes a reply; it is not scored" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--inspect", "0"), "--inspect 0: must be 1 or more"),
        (("--max-dropped", "5"), "--max-dropped 5: is a share, from 0 to 1; for 5 % write 0.05"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(flags, line, tiny_llama, tmp_path, evaluated):
    done, _ = evaluated(tiny_llama, tmp_path / "nothing", *flags)
    assert (done.returncode, done.stderr) == (2, f"kosent-eval: {line}\n")


def test_a_model_that_only_its_server_has_is_asked_as_it_is(tmp_path, evaluated):
    dataset = write_dataset(tmp_path / "chat", 2)
    endpoint = ("--backend", "endpoint", "--endpoint", "http://127.0.0.1:9")
    done, _ = evaluated(Path("org/served-only"), dataset, *endpoint)
    assert done.returncode == 2
    said, *_, refused = done.stderr.splitlines()
    assert said.startswith("org/served-only: its chat template is not to be had here (")
    assert refused.startswith("kosent-eval: http://127.0.0.1:9/chat/completions: ")
