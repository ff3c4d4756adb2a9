"""`kosent-card` as a user types it."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.model_card.cards import RECORDS, card


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "SmolLM2-135M-KoSent"
    shutil.copytree(RECORDS / "adapter", copy)
    return copy


@pytest.mark.parametrize("command", [[], ["render"], ["check"], ["preview"], ["push"]])
def test_help_is_quick_and_imports_nothing_heavy(run, command):
    began = time.monotonic()
    done = run(["python", "-X", "importtime", "-m", "model_card.cli", *command, "--help"])
    assert time.monotonic() - began < 1.5  # a second, and room for a busy machine
    assert done.returncode == 0
    assert done.stdout.startswith("usage: kosent-card")
    for heavy in ("huggingface_hub", "jinja2", "matplotlib", "yaml", "torch"):
        assert f" {heavy}\n" not in done.stderr


def test_render_writes_the_card_and_its_pictures_beside_the_records(run, folder):
    done = run(["kosent-card", "render", folder])
    assert (done.returncode, done.stdout) == (0, f"card: {folder / 'README.md'}\n")
    assert done.stderr == f"next: kosent-card preview {folder}\n"
    assert (folder / "README.md").read_text(encoding="utf-8") == card("adapter")
    assert sorted(path.name for path in (folder / "kosent" / "plots").iterdir()) == [
        "by_emotion-dataset--test.png",
        "learning_rate.png",
        "loss.png",
        "mean_token_accuracy.png",
    ]


def test_rendering_twice_changes_no_byte(run, folder):
    run(["kosent-card", "render", folder])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run(["kosent-card", "render", folder])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_render_elsewhere_and_in_one_language(run, folder, tmp_path):
    output = tmp_path / "out" / "CARD.md"
    output.parent.mkdir()
    run(["kosent-card", "render", folder, "--output", output, "--language", "en"])
    assert "<!-- kosent:begin ko-" not in output.read_text(encoding="utf-8")
    assert (output.parent / "kosent" / "plots" / "loss.png").exists()
    assert not (folder / "README.md").exists()


def test_edits_are_shown_and_kept_until_asked_otherwise(run, folder):
    run(["kosent-card", "render", folder])
    readme = folder / "README.md"
    mine = readme.read_text(encoding="utf-8").replace("## 써 보기", "## 이렇게 쓰세요") + "\n끝.\n"
    readme.write_text(mine, encoding="utf-8")
    done = run(["kosent-card", "render", folder])
    assert readme.read_text(encoding="utf-8") == mine
    assert "-## 이렇게 쓰세요\n+## 써 보기\n" in done.stderr
    assert f"{readme}: kept what was changed by hand" in done.stderr
    run(["kosent-card", "render", folder, "--replace-edits"])
    assert readme.read_text(encoding="utf-8") == mine.replace("## 이렇게 쓰세요", "## 써 보기")


def test_scores_at_the_top_of_a_folder_count(run, folder):
    (folder / "kosent" / "eval" / "dataset--test.json").rename(folder / "results.json")
    run(["kosent-card", "render", folder])
    assert (folder / "README.md").read_text(encoding="utf-8") == card("adapter")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("kosent/run.json", "{", "kosent/run.json: not JSON"),
        ("kosent/run.json", '{"schema_version": 3}', "kosent/run.json: schema_version 3"),
        ("kosent/log_history.jsonl", "{}\nnot\n", "kosent/log_history.jsonl, line 2: not JSON"),
        ("kosent/conversations.json", "[{}]", "kosent/conversations.json[0]: expected an object"),
        ("README.md", "---\na: [\n---\n", "README.md, line 2: metadata is not valid YAML"),
        ("README.md", "<!-- kosent:begin ko-head -->\n", "README.md, line 1: the marker"),
    ],
)
def test_a_damaged_record_is_one_line_and_loses_nothing(run, folder, name, text, line):
    (folder / name).write_text(text, encoding="utf-8")
    done = run(["kosent-card", "render", folder])
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert (folder / name).read_text(encoding="utf-8") == text


def test_a_folder_without_records_is_named(run, tmp_path):
    done = run(["kosent-card", "render", tmp_path])
    assert done.returncode == 2
    assert done.stderr == (
        f"kosent-card: {tmp_path}: neither kosent/run.json nor kosent/eval/*.json in it; "
        "give the output folder of a training run\n"
    )


def test_push_then_render_from_the_hub(run, hub, folder):
    env = hub.env()
    done = run(["kosent-card", "push", folder, "--repo-id", "alice/SmolLM2-135M-KoSent"], env=env)
    head = hub.head("alice/SmolLM2-135M-KoSent")
    assert done.stdout == f"card: {hub.endpoint}/alice/SmolLM2-135M-KoSent/commit/{head}\n"
    assert done.stderr.endswith("next: kosent-card check alice/SmolLM2-135M-KoSent\n")
    there = hub.files("alice/SmolLM2-135M-KoSent")["README.md"].decode()
    done = run(["kosent-card", "render", "alice/SmolLM2-135M-KoSent"], env=env)
    assert done.stdout == there


def test_push_to_a_repo_that_is_not_ours(run, hub, folder):
    hub.create("bob/model", files={"README.md": b"# Bob's\n"})
    command = ["kosent-card", "push", folder, "--repo-id", "bob/model"]
    done = run(command, env=hub.env())
    assert done.returncode == 2
    assert "bob/model: your token may not write to this repo" in done.stderr
    done = run([*command, "--create-pr"], env=hub.env())
    assert done.stdout == f"card: {hub.endpoint}/bob/model/discussions/1\n"
    assert hub.files("bob/model")["README.md"] == b"# Bob's\n"


def test_push_without_a_token(run, hub, folder):
    done = run(["kosent-card", "push", folder, "--repo-id", "alice/new"], env=hub.env(user=None))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not hub.exists("alice/new")
