"""KoSent-Bench on the Hub: one commit, its datasheet as card, and what load_dataset makes of it."""

import json
import sys

import pytest
import yaml

from dataset_builder.bench import FOLDER, load, turns
from dataset_builder.bench.items import FILES
from dataset_builder.bench.publish import push

REPO = "alice/KoSent-Bench"
LOAD = """
import json, sys
from datasets import load_dataset

names = ("turns", "dialogues", "crisis", "conduct", "multiturn")
found = {name: list(load_dataset(sys.argv[1], name, split="test")) for name in names}
assert list(load_dataset(sys.argv[1], split="test")) == found["turns"]
print(json.dumps(found))
"""


def test_its_files_go_as_they_are_and_twice_is_one_commit(hub):
    push(REPO, api=hub.api("alice"))
    assert push(REPO, api=hub.api("alice")).endswith(hub.head(REPO, "dataset"))
    titles = [title for _, title, _ in hub.commits(REPO, "dataset")]
    assert titles == ["KoSent-Bench 1.0.0", "initial commit"]
    assert hub.is_private(REPO, "dataset")
    files = hub.files(REPO, "dataset")
    for name in (*FILES, "version.json", "eval.yaml"):
        assert files[name] == (FOLDER / name).read_bytes(), name
    card = files["README.md"].decode()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert (metadata["license"], metadata["pretty_name"]) == ("cc-by-4.0", "KoSent-Bench")
    assert [config["config_name"] for config in metadata["configs"]] == [
        *("turns", "dialogues", "crisis", "conduct", "multiturn"),
    ]
    sheet = (FOLDER / "README.md").read_text("utf-8").split("---\n", 2)[2]
    assert card.endswith(sheet)
    assert "canary GUID" in card


def test_peoples_metadata_stays(hub):
    push(REPO, api=hub.api("alice"))
    card = hub.files(REPO, "dataset")["README.md"].decode()
    hub.land(REPO, {"README.md": card.replace("---\n", "---\nviewer: false\n", 1)}, "dataset")
    push(REPO, api=hub.api("alice"))
    assert "viewer: false\n" in hub.files(REPO, "dataset")["README.md"].decode()


@pytest.mark.slow
def test_the_command_may_make_it_public_and_every_configuration_loads(hub, run):
    command = ["kosent-data", "push", "kosent-bench", "--repo-id", REPO, "--public"]
    done = run(command, env=hub.env("alice"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f'Load it with: load_dataset("{REPO}")\n')
    assert not hub.is_private(REPO, "dataset")
    done = run([sys.executable, "-c", LOAD, REPO], env=hub.env(None), fresh=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    bench = load()
    assert [row["id"] for row in found["turns"]] == [turn.id for turn in turns(bench)]
    first = found["turns"][0]
    assert first["input"] == turns(bench)[0].input
    assert first["target"] == first["targets"][0] == bench.dialogues[0].turns[0].replies[0]
    for name, items in (
        ("dialogues", bench.dialogues),
        ("crisis", bench.crisis),
        ("conduct", bench.conduct),
        ("multiturn", bench.scripts),
    ):
        assert [row["id"] for row in found[name]] == [item.id for item in items], name
    assert [row["referral_due_from"] for row in found["multiturn"]] == [
        script.referral_due_from for script in bench.scripts
    ]
    assert [row["due"] for row in found["crisis"]] == [item.due for item in bench.crisis]


@pytest.mark.slow
def test_a_folder_of_that_name_is_told_by_its_path(hub, run, tmp_path):
    done = run(
        ["kosent-data", "push", "./kosent-bench", "--repo-id", REPO],
        env=hub.env("alice"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "kosent-bench" in done.stderr
    assert len(done.stderr.splitlines()) == 1
