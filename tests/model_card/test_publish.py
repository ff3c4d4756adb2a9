"""One commit brings a model repo and its card up to date."""

from __future__ import annotations

import json
import shutil

import pytest

from model_card.publish import publish
from model_card.publishing import front_matter
from model_card.run_folder import record_files, write_card
from tests.model_card.cards import RECORDS
from tests.support.hub.validate import check_eval_results

REPO = "kosent/Llama-3.1-8B-KoSent"
BASE = "meta-llama/Llama-3.1-8B-Instruct"
EVAL = "kosent/eval/kosent--emotional-dialogues--test.json"
REVISION = "0e9e39f249a16976918f6564b8830bc894c89659"


def readme(hub, repo_id=REPO, revision="main"):
    return hub.files(repo_id, revision=revision)["README.md"].decode()


def titles(hub, repo_id=REPO):
    return [title for _, title, _ in hub.commits(repo_id)]


@pytest.fixture
def whole_run(hub):
    """The Llama run's records, pinned to the commit that its base has on this Hub."""
    sha = hub.create(BASE, files={"LICENSE": b"the agreement\n", "USE_POLICY.md": b"the policy\n"})
    files = dict(record_files(RECORDS / "llama"))
    record = files["kosent/run.json"].read_text(encoding="utf-8").replace(REVISION, sha)
    return files | {"kosent/run.json": record.encode(), "adapter_config.json": b"{}\n"}


@pytest.fixture
def llama_files(whole_run):
    """The same without its curves, which take most of a commit's time to draw."""
    del whole_run["kosent/log_history.jsonl"]
    return whole_run


def test_records_card_pictures_scores_and_licence_texts_come_in_one_commit(hub, whole_run):
    url = publish(REPO, whole_run, message="Train", api=hub.api())
    assert url == f"{hub.endpoint}/{REPO}/commit/{hub.head(REPO)}"
    assert titles(hub) == ["Train", "initial commit"]
    assert hub.is_private(REPO)
    files = hub.files(REPO)
    assert sorted(files) == [
        ".eval_results/kosent.yaml",
        ".gitattributes",
        "LICENSE",
        "NOTICE",
        "README.md",
        "USE_POLICY.md",
        "adapter_config.json",
        EVAL,
        "kosent/log_history.jsonl",
        "kosent/plots/by_emotion-kosent--emotional-dialogues--test.png",
        "kosent/plots/learning_rate.png",
        "kosent/plots/loss.png",
        "kosent/plots/mean_token_accuracy.png",
        "kosent/run.json",
    ]
    assert files["LICENSE"] == b"the agreement\n"
    assert files["NOTICE"].startswith(b"Llama 3.1 is licensed under the Llama 3.1 Community")
    assert check_eval_results(files[".eval_results/kosent.yaml"].decode()) == []
    assert "[LICENSE](LICENSE), [USE_POLICY.md](USE_POLICY.md), [NOTICE](NOTICE)" in readme(hub)


def test_publishing_the_same_again_makes_no_commit(hub, llama_files):
    first = publish(REPO, llama_files, message="Train", api=hub.api())
    assert publish(REPO, llama_files, message="Again", api=hub.api()) == first


def test_scores_join_the_card_of_a_run_that_is_there_already(hub, llama_files):
    scores = {EVAL: llama_files.pop(EVAL)}
    publish(REPO, llama_files, message="Train", language="ko", api=hub.api())
    assert "## 평가" not in readme(hub)
    publish(REPO, scores, message="Scores", api=hub.api())
    assert (
        readme(hub).index("## 학습") < readme(hub).index("## 평가") < readme(hub).index("## 쓰임새")
    )
    assert "## Evaluation" not in readme(hub)  # the card stays in the language it was in
    assert titles(hub) == ["Scores", "Train", "initial commit"]


def test_what_people_wrote_around_survives_and_edits_inside_are_kept_and_shown(
    hub, llama_files, capsys
):
    publish(REPO, llama_files, message="Train", api=hub.api())
    text = readme(hub).replace("## 써 보기", "## 써 보세요") + "\n## 나의 말\n\n고맙습니다.\n"
    hub.land(REPO, {"README.md": text}, author="carol")
    publish(REPO, llama_files, message="Again", api=hub.api())
    assert readme(hub) == text
    told = capsys.readouterr().err
    assert "-## 써 보세요\n+## 써 보기\n" in told
    assert "--replace-edits" in told
    publish(REPO, llama_files, message="Ours", replace_edits=True, api=hub.api())
    assert readme(hub) == text.replace("## 써 보세요", "## 써 보기")


def test_keys_that_people_added_stay(hub, llama_files):
    publish(REPO, llama_files, message="Train", api=hub.api())
    own = "new_version: kosent/Llama-3.2-KoSent\nwidget:\n- text: 내 예시\n"
    hub.land(REPO, {"README.md": readme(hub).replace("---\n", f"---\n{own}", 1)}, author="carol")
    talk = (RECORDS / "adapter" / "kosent" / "conversations.json").read_bytes()
    for _ in range(2):
        publish(REPO, {"kosent/conversations.json": talk}, message="Talk", api=hub.api())
    card = front_matter.read(readme(hub))
    assert card["new_version"] == "kosent/Llama-3.2-KoSent"
    assert card["widget"][0] == {"text": "내 예시"}
    assert [example.get("group") for example in card["widget"]] == [None, *3 * ["KoSent"]]


def test_a_person_writing_in_between_is_not_lost(hub, llama_files):
    publish(REPO, llama_files, message="Train", api=hub.api())
    hub.fault(
        "POST .*/commit/main", "commit", files={"README.md": readme(hub) + "\nCarol was here.\n"}
    )
    scores = json.loads(llama_files[EVAL])
    scores["metrics"]["bleu"]["value"] = 3.21
    publish(REPO, {EVAL: json.dumps(scores).encode()}, message="Scores", api=hub.api())
    assert readme(hub).endswith("\nCarol was here.\n")
    assert "**3.21**" in readme(hub)


def test_somebody_elses_model_gets_the_evaluation_and_nothing_else(hub):
    theirs = "---\nlicense: mit\nlanguage: en\n---\n# Their model\n\nTheir words.\n"
    hub.create("bob/model", files={"README.md": theirs.encode()})
    scores = {EVAL: RECORDS / "llama" / EVAL}
    url = publish("bob/model", scores, message="Scores", create_pr=True, api=hub.api())
    assert url == f"{hub.endpoint}/bob/model/discussions/1"
    assert readme(hub, "bob/model") == theirs
    text = readme(hub, "bob/model", "refs/pr/1")
    assert text.startswith("---\nlicense: mit\nlanguage: en\n")
    assert front_matter.split(text)[1].startswith("# Their model\n\nTheir words.\n")
    assert set(front_matter.read(text)) == {"license", "language", "metrics", "model-index"}
    assert "## 학습" not in text and "## 쓰임새" not in text


def test_a_trainers_card_is_replaced(hub, llama_files):
    from tests.model_card import wild

    hub.create(REPO, files={"README.md": wild.trl().encode()})
    publish(REPO, llama_files, message="Train", api=hub.api())
    assert "Quick start" not in readme(hub)
    assert "generated_from_trainer" not in readme(hub)


def test_a_draft_beside_the_records_brings_its_own_text_along(hub, tmp_path):
    run = tmp_path / "Llama-x"
    shutil.copytree(RECORDS / "llama", run)
    write_card(run, None, "ko")
    with (run / "README.md").open("a", encoding="utf-8") as file:
        file.write("\n## 후기\n\n만들면서 배운 것.\n")
    publish(REPO, record_files(run), message="Train", api=hub.api())
    assert readme(hub).endswith("\n## 후기\n\n만들면서 배운 것.\n")


def test_a_draft_never_takes_away_what_the_repo_says(hub, tmp_path, capsys):
    hub.create(REPO, files={"README.md": b"# Theirs\n\nOnly on the Hub.\n"})
    run = tmp_path / "Llama-x"
    shutil.copytree(RECORDS / "llama", run)
    (run / "README.md").write_text("# Mine\n\nOnly here.\n", encoding="utf-8")
    publish(REPO, record_files(run), message="Train", api=hub.api())
    assert "Only on the Hub." in readme(hub) and "Only here." not in readme(hub)
    assert "the repo's is kept" in capsys.readouterr().err


def test_the_licence_of_an_unknown_base_is_read_from_its_card(hub):
    hub.create("org/base", files={"README.md": b"---\nlicense: gemma\n---\n# Base\n"})
    files = dict(record_files(RECORDS / "adapter-unscored"))
    record = files["kosent/run.json"].read_text(encoding="utf-8")
    record = record.replace("HuggingFaceTB/SmolLM2-135M-Instruct", "org/base")
    publish("alice/model", files | {"kosent/run.json": record.encode()}, message="x", api=hub.api())
    assert front_matter.read(readme(hub, "alice/model"))["license"] == "gemma"


def test_a_base_that_cannot_be_asked_leaves_the_licence_out_and_says_so(hub, capsys):
    files = dict(record_files(RECORDS / "adapter-unscored"))
    record = files["kosent/run.json"].read_text(encoding="utf-8")
    record = record.replace("HuggingFaceTB/SmolLM2-135M-Instruct", "org/gone")
    publish("alice/model", files | {"kosent/run.json": record.encode()}, message="x", api=hub.api())
    assert "license" not in front_matter.read(readme(hub, "alice/model"))
    assert "org/gone: its licence could not be read there" in capsys.readouterr().err


def test_a_licence_file_of_the_authors_own_is_not_overwritten(hub, llama_files):
    hub.create(REPO, files={"LICENSE": b"read by me\n"})
    publish(REPO, llama_files, message="Train", api=hub.api())
    assert hub.files(REPO)["LICENSE"] == b"read by me\n"
