"""`make hub-check`, the check of the real Hub, against the test Hub: as it is, and broken."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.hub import Hub, cards
from tests.tools import hub_check
from tests.tools.hub_check import ROWS, Scratch, delete, outcome

pytestmark = pytest.mark.slow

NAME = "alice/scratch"
COMMAND = [sys.executable, "-m", "tests.tools.hub_check", NAME]
# hf-xet's own patience: five attempts, the first pause of three seconds.
IMPATIENT = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2", "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms"}


def ours(hub: Hub) -> set[str]:
    return {repo_id for _, repo_id in hub.store.repos}


def test_all_rows_hold_and_nothing_is_left_but_what_was_there(hub, run):
    hub.create(f"{NAME}-of-mine", files={"kept.txt": "kept"})
    env = hub.env(xet=True) | IMPATIENT
    done = run([*COMMAND, "--yes"], env=env, cwd=ROOT, timeout=900)
    table = done.stdout.splitlines()
    assert len(table) == 2 + len(ROWS) + 1
    assert [line for line in table[2:] if not line.endswith("| yes |")] == []
    assert done.returncode == 0, done.stderr
    assert ours(hub) == {f"{NAME}-of-mine"}


def test_what_does_not_hold_is_said_and_what_cannot_be_deleted_is_named(hub, run):
    hub.fault("DELETE /api/repos/delete", "status", None, code=403)
    hub.fault("PUT .*/settings", "html", None)
    done = run([*COMMAND, "--yes"], env=hub.env() | IMPATIENT, cwd=ROOT, timeout=900)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    fails = [line[2:22] for line in lines if "| **no**" in line]
    assert fails == ["Parquet files travel", "The dataset can be g", "Both repos are delet"]
    (left,) = ours(hub)
    assert lines[-1].startswith("| Both repos are deleted | **no**") and left in lines[-1]


def test_it_asks_and_starts_only_with_an_id_and_a_token_that_may_write(hub, run):
    asked = run(COMMAND, env=hub.env(), cwd=ROOT, input="n\n")
    read_only = run([*COMMAND, "--yes"], env=hub.env(read_only=True), cwd=ROOT)
    nameless = run([*COMMAND[:-1], "name", "--yes"], env=hub.env(), cwd=ROOT)
    for done in (asked, read_only, nameless):
        assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr
    assert "Go on? [y/N]" in asked.stderr and "nothing was done" in asked.stderr
    assert not ours(hub)


def fault(
    match: str, kind: str, times: int | None = None, **options
) -> Callable[[Scratch, Hub], None]:
    def broken(scratch: Scratch, hub: Hub) -> None:
        hub.fault(match, kind, times, **options)

    return broken


def opened(scratch: Scratch, hub: Hub) -> None:
    hub.api().update_repo_settings(scratch.name, private=False)


def without_xet(scratch: Scratch, hub: Hub) -> None:
    hub.store.xet_hashes.clear()
    commit = hub.store.repo("dataset", scratch.name).commit_at("main")
    commit.tree.update({path: _plain(hub, blob) for path, blob in commit.tree.items()})


def _plain(hub: Hub, blob):
    return hub.store.large_blob(blob.sha256) if blob.sha256 else blob


def forgetful(scratch: Scratch, hub: Hub) -> None:
    """A Hub that makes commits, and none of them changes a file."""
    keep = hub.store.commit

    def commit(repo, ref, changes, title, author, **more):
        return keep(repo, ref, {}, title, author, **(more | {"allow_empty": True}))

    hub.store.commit = commit


def tagless(scratch: Scratch, hub: Hub) -> None:
    """A Hub that makes nothing of a card's tags."""
    read = cards.describe
    cards.describe = lambda *repo, **how: read(*repo, **how) | {"tags": []}


# Row: the Hub when it does not hold, and what the row then says.
BROKEN = {
    hub_check.load: (fault("GET /v[12]/reconstructions", "status", code=404), "."),
    hub_check.edit: (forgetful, "this name doesn.t exist"),
    hub_check.race: (forgetful, "a file is missing"),
    hub_check.card: (tagless, "no tag"),
    hub_check.refusal: (fault("POST /api/validate-yaml", "html"), "makes no sense"),
    hub_check.pull_request: (forgetful, "does not have the file"),
    hub_check.private: (opened, "a stranger sees the model"),
    hub_check.gated: (fault("PUT .*/settings", "html"), "gated is"),
    hub_check.xet: (without_xet, "no Xet hash"),
}


@pytest.fixture
def scratch(hub, tmp_path: Path) -> Scratch:
    made = Scratch(NAME, tmp_path, hub.api(), hub.env(xet=True) | IMPATIENT)
    for repo_type in ("dataset", "model"):
        made.make(repo_type)
    return made


def test_every_row_can_fail(hub, scratch: Scratch, monkeypatch):
    """Each holds on a Hub that does what it should, and then not on a broken one."""
    assert outcome(hub_check.push, scratch) == ""
    assert {hub_check.push, *BROKEN} == set(ROWS)
    for row, (broken, says) in BROKEN.items():
        assert outcome(row, scratch) == "", row.__name__
        with monkeypatch.context() as whole:
            whole.setattr(hub.store, "commit", hub.store.commit)
            whole.setattr(cards, "describe", cards.describe)
            broken(scratch, hub)
            assert re.search(says, outcome(row, scratch)), row.__name__
        hub.clear_faults()
    assert delete(scratch) == ""
    assert not ours(hub)


def test_a_push_of_more_than_one_commit_is_seen(hub, scratch: Scratch):
    hub.fault("POST .*/commit/main", "commit", 1)
    assert outcome(hub_check.push, scratch) == "2 commits"
