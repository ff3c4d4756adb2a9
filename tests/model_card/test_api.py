"""`from model_card import ...`: the card from Python, as a script or a notebook does it."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from model_card import check_card, publish_card, render_card
from model_card.publishing.errors import KoSentError
from tests.model_card.cards import RECORDS, card

SCRIPT = """
import json, sys
from pathlib import Path
from model_card import check_card, publish_card, render_card

run, repo_id = Path(sys.argv[1]), sys.argv[2]
url = publish_card(run, repo_id, language="ko")
there = render_card(repo_id, language="both")
checked = check_card(repo_id)
print(json.dumps([url, there.text, checked.source, checked.errors, checked.warnings]))
"""


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "SmolLM2-135M-KoSent"
    shutil.copytree(RECORDS / "adapter", copy)
    return copy


def test_a_card_is_rendered_and_checked(folder, tmp_path):
    rendered = render_card(folder)
    assert rendered.path == folder / "README.md"
    assert rendered.text == card("adapter") == rendered.path.read_text(encoding="utf-8")
    english = render_card(str(folder), tmp_path / "CARD.md", language="en")
    assert english.path == tmp_path / "CARD.md"
    assert "<!-- kosent:begin ko-" not in english.text
    assert check_card(folder).findings == ()
    (folder / "README.md").write_text("# A model\n", encoding="utf-8")
    checked = check_card(folder)
    assert (checked.errors, checked.warnings) == (1, 1)
    assert checked.findings[0].code == "metadata-missing"


@pytest.mark.slow
def test_a_card_is_published_and_made_again_from_the_hub(run, hub, folder):
    repo_id = "alice/SmolLM2-135M-KoSent"
    done = run([sys.executable, "-c", SCRIPT, folder, repo_id], env=hub.env())
    assert done.returncode == 0, done.stderr
    url, text, *checked = json.loads(done.stdout)
    assert url == f"{hub.endpoint}/{repo_id}/commit/{hub.head(repo_id)}"
    pushed = hub.files(repo_id)["README.md"].decode()
    assert "begin ko-head" in pushed and "begin en-head" not in pushed
    assert "begin ko-head" in text and "begin en-head" in text
    assert checked == [repo_id, 0, 0]


def test_what_cannot_be_done_is_an_error_with_fields(tmp_path):
    with pytest.raises(KoSentError) as error:
        publish_card(tmp_path / "nowhere", "alice/model")
    assert error.value.what == "no such folder"
    with pytest.raises(KoSentError, match="neither kosent/run"):
        render_card(tmp_path)
