"""Gemma's terms travel with what is made from it: into the run folder, the card, and the repo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from model_card.api import check_card, render_card
from model_card.licenses import own_license, space_refused, terms_files
from tests.model_card.cards import RECORDS

REPO = "alice/Gemma-3-270M-KoSent"
NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)


@pytest.fixture
def gemma_run(tmp_path: Path) -> Path:
    """A finished run folder whose base is Gemma 3."""
    folder = tmp_path / "Gemma-3-270M-KoSent"
    shutil.copytree(RECORDS / "adapter-unscored", folder)
    path = folder / "kosent" / "run.json"
    record = json.loads(path.read_text("utf-8"))
    record["base_model"] = {"id": "google/gemma-3-270m", "revision": None, "local": True}
    path.write_text(json.dumps(record), encoding="utf-8")
    base = {"base_model_name_or_path": "google/gemma-3-270m"}
    (folder / "adapter_config.json").write_text(json.dumps(base))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def codes(done) -> list[str]:
    found = [finding["code"] for finding in json.loads(done.stdout)["findings"]]
    return [code for code in found if code.startswith(("gemma", "license"))]


def test_render_puts_the_terms_and_the_notice_beside_the_card(run, gemma_run: Path):
    assert run(["kosent-card", "render", gemma_run]).returncode == 0
    terms = (gemma_run / "LICENSE").read_text("utf-8")
    assert terms.startswith("Gemma Terms of Use\n")
    assert "Section 3: DISTRIBUTION AND RESTRICTIONS" in terms
    notice = (gemma_run / "NOTICE").read_text("utf-8")
    assert notice.startswith(f"{NOTICE}\n")
    assert "made from google/gemma-3-270m by further training" in notice
    card = (gemma_run / "README.md").read_text("utf-8")
    assert "license: gemma\n" in card
    for words in (
        NOTICE,
        "수정한 것",
        "is a modified Gemma",
        "[LICENSE](LICENSE), [NOTICE](NOTICE)",
    ):
        assert words in card
    assert codes(run(["kosent-card", "check", gemma_run, "--json"])) == []


def licence_findings(folder: Path) -> dict:
    found = check_card(folder).findings
    return {finding.code: finding for finding in found if finding.code.startswith("license")}


OWN = [
    ("LGAI-EXAONE/EXAONE-4.0-1.2B", "exaone", "research and education only", set()),
    (
        "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-1.5B",
        "hyperclovax-seed",
        "bound by the Prohibited Use Policy in Section 2.3",
        {"NOTICE"},
    ),
]


@pytest.mark.parametrize(("base", "name", "condition", "notice"), OWN)
def test_a_licence_of_a_base_s_own_is_carded_and_checked(gemma_run, base, name, condition, notice):
    path, readme = gemma_run / "kosent" / "run.json", gemma_run / "README.md"
    record = json.loads(path.read_text("utf-8"))
    record["base_model"]["id"] = base
    path.write_text(json.dumps(record), encoding="utf-8")
    render_card(gemma_run, language="en")
    own, code = own_license(base), name.split("-")[0]
    card = readme.read_text("utf-8")
    assert f"license: other\nlicense_name: {name}\nlicense_link: {own.url}\n" in card
    assert f"[{own.title}]({own.url})" in card and condition in card
    assert own.terms.in_card in card and "Gemma." not in card
    assert {path.name for path in gemma_run.glob("NOTICE")} == notice
    # The run is named after SmolLM2, and only a push has the base's LICENSE.
    asked = [one.code for one in check_card(gemma_run).findings if one.code.startswith(code)]
    assert asked == [f"{code}-file", f"{code}-name"]
    record["model_name"] = f"{base.split('/')[1]}-KoSent"
    path.write_text(json.dumps(record), encoding="utf-8")
    (gemma_run / "LICENSE").write_text("text")
    render_card(gemma_run, language="en")
    card = readme.read_text("utf-8")
    assert [one for one in check_card(gemma_run).findings if one.code.startswith(code)] == []
    readme.write_text(card.replace("license: other", "license: mit"), encoding="utf-8")
    found = licence_findings(gemma_run)
    assert set(found) == {"license-differs"}
    assert found["license-differs"].remedy == f"say license: other, license_name: {name}"
    readme.write_text(card.replace("Powered by HyperCLOVA X", ""), encoding="utf-8")
    lacks = {one.code for one in check_card(gemma_run).findings}
    assert ("hyperclovax-powered-by" in lacks) is bool(own.terms.in_card)


def test_a_licence_of_a_base_s_own_goes_along_with_a_notice():
    read, (exaone, seed) = {"LICENSE": b"text"}.get, [base for base, *_ in OWN]
    assert terms_files("other", "changed", read) == {"LICENSE": b"text"}
    assert terms_files("other", "changed", read, exaone) == {"LICENSE": b"text"}
    files = terms_files("other", "It was changed.", read, seed)
    assert files["LICENSE"] == b"text"
    notice = files["NOTICE"].decode()
    assert notice.startswith("HyperCLOVA X SEED Model is licensed under the HyperCLOVA X SEED ")
    assert "Copyright © NAVER Corp. All Rights Reserved." in notice
    assert "It was changed." in notice and "Section 2.3" in notice


def test_a_notice_that_somebody_wrote_is_kept(run, gemma_run: Path):
    (gemma_run / "NOTICE").write_text("mine\n")
    assert run(["kosent-card", "render", gemma_run]).returncode == 0
    assert (gemma_run / "NOTICE").read_text() == "mine\n"


def test_a_card_that_goes_elsewhere_touches_no_licence_there(run, gemma_run: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "LICENSE").write_text("mine\n")
    card = elsewhere / "card.md"
    assert run(["kosent-card", "render", gemma_run, "--output", card]).returncode == 0
    assert (elsewhere / "LICENSE").read_text() == "mine\n"
    assert not (elsewhere / "NOTICE").exists()
    assert {"LICENSE", "NOTICE"} <= {path.name for path in gemma_run.iterdir()}


def test_check_asks_for_what_the_terms_want(run, gemma_run: Path):
    run(["kosent-card", "render", gemma_run])
    for name in ("LICENSE", "NOTICE"):
        (gemma_run / name).unlink()
    readme = gemma_run / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("prohibited_use_policy", "p"), "utf-8")
    done = run(["kosent-card", "check", gemma_run, "--json"])
    assert sorted(codes(done)) == ["gemma-file", "gemma-file", "gemma-restrictions"]
    assert done.returncode == 2


@pytest.mark.slow
def test_a_push_carries_them_though_the_base_repo_has_none(run, hub, gemma_run: Path):
    command = ["python", "-m", "kosent_hub.push", gemma_run, "--repo-id", REPO]
    done = run(command, env=hub.env())
    assert done.returncode == 0, done.stderr
    files = hub.files(REPO)
    assert files["LICENSE"].startswith(b"Gemma Terms of Use\n")
    assert files["NOTICE"].startswith(NOTICE.encode())
    assert codes(run(["kosent-card", "check", REPO, "--json"], env=hub.env())) == []


@pytest.mark.parametrize(
    ("license_id", "private", "public"),
    [
        ("apache-2.0", True, True),
        ("llama3.1", True, True),
        ("gemma", True, True),
        ("cc-by-nc-nd-4.0", False, False),
        ("h-research", True, False),
        ("other", True, False),
        (None, True, False),
    ],
)
def test_who_may_see_a_space_under_which_licence(license_id, private, public):
    assert (space_refused(license_id, public=False) is None) is private
    assert (space_refused(license_id, public=True) is None) is public


def test_a_public_space_is_refused_with_the_conditions_of_a_licence_of_its_own():
    why, _ = space_refused("other", public=True, base_model=OWN[0][0])
    assert why.startswith(
        "its licence has conditions: for research and education only, nothing commercial"
    )
    why, _ = space_refused("other", public=True, base_model="alice/unknown")
    assert "not known here" in why
