"""A dataset folder on the Hub: private, in one commit, with a card that tells how it came about."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from dataset_builder import push
from dataset_builder.cli import main
from dataset_builder.publish import ABROAD
from model_card.publishing.errors import KoSentError
from tests.dataset_builder.corpora import TEST, TRAIN, records, rows, text, tree
from tests.support import ROOT
from tests.support.hub import Hub

REPO = "alice/KoSent-dialogues"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "Training_221115_add/a_Training.csv": text(
            [*rows("2022", TRAIN), ["", *TRAIN[0][:6], "", "나", "", "", "", ""]], "cp949"
        ),
        "Validation_221115_add/a_Validation.csv": text(rows("2022", TEST), "cp949"),
    }
    source = tree(tmp_path / "source", files)
    assert main(["build", str(source), str(tmp_path / "dataset")]) == 0
    return tmp_path / "dataset"


def put(hub: Hub, folder: Path, **options) -> str:
    return push(folder, REPO, api=hub.api("alice"), **options)


def readme(hub: Hub) -> str:
    return hub.files(REPO, "dataset")["README.md"].decode()


def test_the_command(hub, run, folder: Path) -> None:
    done = run(["kosent-data", "push", folder, "--repo-id", REPO], env=hub.env("alice"))
    assert done.returncode == 0, done.stderr
    sha = hub.head(REPO, "dataset")
    assert done.stdout == (
        f'{hub.endpoint}/datasets/{REPO}/commit/{sha}\nLoad it with: load_dataset("{REPO}")\n'
    )
    assert hub.is_private(REPO, "dataset")
    assert [title for _, title, _ in hub.commits(REPO, "dataset")] == [
        "Upload dataset with kosent-data",
        "initial commit",
    ]
    files = hub.files(REPO, "dataset")
    assert sorted(files) == [
        ".gitattributes",
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "emotions.png",
        "eval.yaml",
        "report.json",
    ]
    for name in files.keys() - {".gitattributes", "README.md", "emotions.png"}:
        assert files[name] == (folder / name).read_bytes(), name
    assert files["emotions.png"].startswith(b"\x89PNG")


def test_the_card(hub, folder: Path) -> None:
    put(hub, folder)
    card = readme(hub)
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["language"] == ["ko"]
    assert (metadata["license"], metadata["license_name"]) == ("other", "aihub-terms")
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "data/train-*"},
                {"split": "test", "path": "data/test-*"},
            ],
        }
    ]
    assert metadata["dataset_info"]["features"][1] == {
        "name": "messages",
        "list": [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}],
    }
    assert [
        (split["name"], split["num_examples"]) for split in metadata["dataset_info"]["splits"]
    ] == [("train", 3), ("test", 1)]
    source = folder.parent / "source/Training_221115_add/a_Training.csv"
    for line in (
        "| train | 3 | 6 | 109 |",
        f'dataset = load_dataset("{REPO}")',
        f'train = pd.read_parquet("hf://datasets/{REPO}/data/train-00000-of-00001.parquet")',
        "![Dialogues by emotion](emotions.png)",
        "| 기쁨 · joy | 0 | 1 |",
        "| E31 | 불안 | 두려운 | 1 | 0 |",
        f"| `Training_221115_add/a_Training.csv` | {source.stat().st_size} "
        f"| `{hashlib.sha256(source.read_bytes()).hexdigest()}` |",
        "- `train`: 4 rows of `Training_221115_add/a_Training.csv` (edition 2022, csv, cp949)",
        "- 1 rows dropped, 0 turns trimmed, 0 training dialogues removed: "
        "1 rows without a first user turn.",
        "- Distinct utterances of `test` that stand in `train` too: 0 of 1 user turns, "
        "0 of 1 replies.",
        "- storing it or training on servers abroad counts as export and needs an agreement;",
        "- only Korean nationals resident in Korea with an approved application may use it; "
        "others need a separate agreement;",
    ):
        assert line in card.splitlines(), line
    assert "한국지능정보사회진흥원(NIA)의 지원을 받아" in card
    assert "The Open AI Dataset Project (AI-Hub, S. Korea)" in card


def test_no_rows_and_no_paths_of_this_machine_in_what_people_read(hub, folder: Path) -> None:
    put(hub, folder)
    for name, data in hub.files(REPO, "dataset").items():
        if name.endswith((".parquet", ".png")):
            continue
        for _, _, _, _, _, _, said in TRAIN + TEST:
            assert not any(turn in data.decode() for turn in said if turn != "네."), name
        assert str(folder.parent) not in data.decode(), name


def test_pushing_twice_is_one_commit(hub, folder: Path) -> None:
    first = put(hub, folder)
    assert put(hub, folder) == first
    assert len(hub.commits(REPO, "dataset")) == 2


def test_pushing_again_keeps_peoples_words_and_removes_stale_parts(
    hub, folder: Path, tmp_path: Path
) -> None:
    put(hub, folder)
    mine = readme(hub).replace("# KoSent 감성 대화\n", "# 우리 데이터\n\n손으로 쓴 말\n")
    mine = mine.replace("language:\n", "viewer: false\nlanguage:\n") + "\n## 연락처\n\n여기로\n"
    hub.land(
        REPO,
        {
            "README.md": mine,
            "data/train-00000-of-00002.parquet": b"old",
            "data/validation-00000-of-00001.parquet": b"old",
            "notes.md": "kept",
        },
        "dataset",
    )
    source = tree(tmp_path / "new", {"train.json": records(TRAIN), "test.json": records(TEST)})
    assert main(["build", str(source), str(tmp_path / "other")]) == 0
    before = len(hub.commits(REPO, "dataset"))
    put(hub, tmp_path / "other")
    assert len(hub.commits(REPO, "dataset")) == before + 1
    files = hub.files(REPO, "dataset")
    assert [name for name in files if name.startswith("data/")] == [
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    assert files["notes.md"] == b"kept"
    card = readme(hub)
    assert "# 우리 데이터\n\n손으로 쓴 말\n" in card
    assert "viewer: false\n" in card
    assert card.endswith("\n## 연락처\n\n여기로\n")
    assert "- `train`: 3 rows of `train.json` (edition json, json, utf-8)" in card
    assert "a_Training.csv" not in card


def test_a_commit_in_between_is_kept(hub, folder: Path) -> None:
    put(hub, folder)
    shutil.rmtree(folder)
    assert main(["build", str(folder.parent / "source"), str(folder), "--as-is"]) == 0
    theirs = readme(hub) + "\n이웃의 말\n"
    hub.fault("POST .*/commit/main", "commit", files={"README.md": theirs.encode()})
    put(hub, folder)
    card = readme(hub)
    assert card.endswith("\n이웃의 말\n")
    assert "- Built as is:" in card
    assert [title for _, title, _ in hub.commits(REPO, "dataset")][:2] == [
        "Upload dataset with kosent-data",
        "Somebody else was here",
    ]


def test_edits_of_the_local_card_go_along_the_first_time(hub, folder: Path, tmp_path: Path) -> None:
    local = folder / "README.md"
    local.write_text(local.read_text("utf-8").replace("# KoSent 감성 대화", "# 내 제목"), "utf-8")
    said: list[str] = []
    put(hub, folder, progress=said.append)
    assert "# 내 제목\n" in readme(hub)
    assert said == [ABROAD]
    local.write_text(local.read_text("utf-8").replace("# 내 제목", "# 새 제목"), "utf-8")
    put(hub, folder, progress=said.append)
    assert "# 내 제목\n" in readme(hub)
    edit = f"{local}: your changes stay here, the repo has a README; edit that one"
    assert said == [ABROAD, edit, ABROAD]


def test_a_public_repo_is_refused(hub, folder: Path) -> None:
    hub.create(REPO, "dataset", private=False)
    with pytest.raises(KoSentError, match="this repo is public, and what you are pushing must"):
        put(hub, folder)
    assert list(hub.files(REPO, "dataset")) == [".gitattributes"]


def test_a_gated_repo_asks_for_what_ai_hub_asks(hub, folder: Path) -> None:
    put(hub, folder)
    assert "extra_gated" not in readme(hub)
    hub.api().update_repo_settings(REPO, repo_type="dataset", gated="manual")
    put(hub, folder)
    metadata = yaml.safe_load(readme(hub).split("---\n")[1])
    assert "aihub.or.kr" in metadata["extra_gated_prompt"]
    assert list(metadata["extra_gated_fields"].values()) == ["date_picker", "checkbox", "checkbox"]
    assert len(hub.commits(REPO, "dataset")) == 3


def test_data_of_others_than_ai_hub_go_abroad_unsaid(hub, folder: Path) -> None:
    source = folder.parent / "source"
    (source / "README.md").write_text("---\nlicense: mit\ncorpus: kosent-sample\n---\n")
    assert main(["build", str(source), str(folder), "--overwrite"]) == 0
    said: list[str] = []
    put(hub, folder, progress=said.append)
    assert said == []


def test_public_needs_the_rights(hub, run, folder: Path) -> None:
    command = ["kosent-data", "push", folder, "--repo-id", REPO, "--public"]
    done = run(command, env=hub.env("alice"))
    assert done.returncode == 2
    assert done.stderr == (
        "kosent-data: --public: AI Hub's data, edited or not, must not reach unapproved third "
        "parties; leave --public out, or add --i-hold-redistribution-rights if you do\n"
    )
    assert not hub.exists(REPO, "dataset")
    done = run([*command, "--i-hold-redistribution-rights", "--json"], env=hub.env("alice"))
    assert json.loads(done.stdout)["url"].startswith(f"{hub.endpoint}/datasets/{REPO}/commit/")
    assert not hub.is_private(REPO, "dataset")


def test_public_from_python_needs_the_rights_too(hub, folder: Path) -> None:
    with pytest.raises(KoSentError, match="must not reach unapproved third parties"):
        put(hub, folder, public=True)
    assert not hub.exists(REPO, "dataset")
    put(hub, folder, public=True, i_hold_redistribution_rights=True)
    assert not hub.is_private(REPO, "dataset")


def test_a_pull_request(hub, folder: Path) -> None:
    hub.create(REPO, "dataset", private=True)
    url = put(hub, folder, create_pr=True)
    assert url == f"{hub.endpoint}/datasets/{REPO}/discussions/1"
    (proposed,) = hub.pull_requests(REPO, "dataset")
    assert "report.json" in hub.files(REPO, "dataset", proposed.ref)
    assert "report.json" not in hub.files(REPO, "dataset")


def test_a_token_that_may_not_write(hub, run, folder: Path) -> None:
    hub.create(REPO, "dataset", private=True)
    command = ["kosent-data", "push", folder, "--repo-id", REPO]
    done = run(command, env=hub.env("alice", read_only=True))
    assert done.returncode == 2
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"kosent-data: {REPO}: your token may not write to this repo")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", ["data/train-00000-of-00001.parquet", "data/dev.parquet"])
def test_a_folder_that_was_changed(hub, folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"other")
    with pytest.raises(KoSentError, match=f"{file}: not as kosent-data built it; build it again"):
        put(hub, folder)
    assert not hub.exists(REPO, "dataset")


def test_the_benchmark_has_a_task_for_each_metric() -> None:
    path = ROOT / "dataset_builder" / "eval.yaml"
    tasks = yaml.safe_load(path.read_text("utf-8"))["tasks"]
    ids = [task["id"] for task in tasks]
    assert len(set(ids)) == len(ids)
    assert {"bleu", "chrf", "sentence_bleu", "rouge_l", "cosine_similarity"} <= set(ids)
    assert all((task["config"], task["split"]) == ("default", "test") for task in tasks)
