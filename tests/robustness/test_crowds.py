"""Many who write to one model card at once: nobody's results are lost."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.kosent_hub.dialogues import write_dataset
from tests.support import fork_server

# Some minutes on two cores.
pytestmark = pytest.mark.slow

MODEL, OTHER, DATASET = "kosent/model", "alice/other", "alice/chat"
CARD = """---
license: mit
language: ko
library_name: transformers
pipeline_tag: text-generation
---
# Model

My own words.
"""
USUAL = ["--dataset", DATASET, "--embedder", "none", "--max-new-tokens", "4", "--no-safety"]
COMMIT = r"^POST /api/models/kosent/model/commit/main"


SECONDS = 900


@pytest.fixture
def crowd(hub, tmp_path, tiny_llama):
    """`crowd(*(user, arguments))`: as many `kosent-eval` at once, in one folder."""
    files = {path.name: path for path in tiny_llama.iterdir()}
    hub.create(MODEL, files=files | {"README.md": CARD})
    hub.create(OTHER, files=files)
    data = write_dataset(tmp_path / "chat", 2) / "data"
    hub.create(DATASET, "dataset", files={f"data/{p.name}": p for p in data.iterdir()})

    def crowd(*commands):
        running = [
            fork_server.start(
                ["kosent-eval", "--model", MODEL, *USUAL, *arguments],
                env=hub.env(user),
                cwd=tmp_path,
            )
            for user, arguments in commands
        ]
        with ThreadPoolExecutor(len(running)) as pool:
            said = list(pool.map(lambda process: process.communicate(timeout=SECONDS), running))
        assert [process.returncode for process in running] == [0] * len(commands), said

    return crowd


def results(files):
    """The evaluations that a repo holds, as text."""
    return {
        path: content.decode()
        for path, content in files.items()
        if path.startswith("kosent/eval/") and path.endswith(".json")
    }


def test_eight_evaluations_pushed_at_once_are_all_in_the_card(hub, crowd, run, tmp_path):
    before = hub.commits(MODEL)
    settings = [
        [],
        ["--limit", "2"],
        ["--max-new-tokens", "5"],
        ["--dtype", "bfloat16"],
        ["--seed", "1"],
        ["--safety"],
        ["--baseline", OTHER],
        ["--revision", before[0][0]],  # as another model in the same repo would be named
    ]
    hub.fault(COMMIT, "gather", times=8)
    crowd(*(("alice", [*more, "--push"]) for more in settings))

    conflicts = [entry for entry in hub.journal if entry.status == 412]
    assert len(conflicts) >= 7, "all eight saw the same head"
    made = hub.commits(MODEL)[: -len(before)]
    assert len(made) == 8, "a commit each"
    assert len({title for _, title, _ in made}) == 8

    files = hub.files(MODEL)
    folders = tmp_path.glob("kosent-eval/*/results.json")
    assert sorted(results(files).values()) == sorted(path.read_text("utf-8") for path in folders)
    assert len(results(files)) == 8

    card = files["README.md"].decode()
    assert "My own words." in card
    (index,) = yaml.safe_load(card.split("---")[1])["model-index"]
    values = [[metric["value"] for metric in entry["metrics"]] for entry in index["results"]]
    recorded = [json.loads(text)["metrics"].values() for text in results(files).values()]
    measured = [[m["value"] for m in found if m["value"] is not None] for found in recorded]
    assert sorted(values) == sorted(measured)
    headings = [line for line in card.splitlines() if line.startswith("### alice/chat · test")]
    assert len(set(headings)) == 8
    checked = run(["kosent-card", "check", MODEL], env=hub.env())
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_results_of_different_people_do_not_touch_each_other(hub, crowd, run, tmp_path):
    own, theirs = ["--limit", "2"], ["--limit", "1"]
    crowd(("alice", [*own, "--push"]), ("bob", [*theirs, "--create-pr"]))
    (mine,) = results(hub.files(MODEL)).values()
    (request,) = hub.pull_requests(MODEL)
    assert request.author == "bob"
    proposed = results(hub.files(MODEL, revision=request.ref))
    samples = {json.loads(text)["dataset"]["samples"] for text in proposed.values()}
    assert 1 in samples
    assert json.loads(mine)["dataset"]["samples"] == 2

    # The owner takes bob's in, and evaluates again: hers is replaced, his stays.
    hub.land(MODEL, {path: text for path, text in proposed.items() if text != mine})
    crowd(("alice", [*own, "--fresh", "--push"]))
    files = hub.files(MODEL)
    assert len(results(files)) == 2
    assert mine not in results(files).values()
    (index,) = yaml.safe_load(files["README.md"].decode().split("---")[1])["model-index"]
    assert {entry["dataset"]["name"].count("limit 1") for entry in index["results"]} == {0, 1}
    assert len(index["results"]) == 2
