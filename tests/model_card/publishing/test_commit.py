"""`model_card.publishing.commit` against a Hub with other people and bad weather on it."""

from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from model_card.publishing.commit import commit, read_head
from model_card.publishing.errors import KoSentError

pytestmark = pytest.mark.usefixtures("retries")

REPO = "alice/model"


def put(path, text):
    return lambda head: [CommitOperationAdd(path, text.encode())]


def append_line(line):
    """A build that keeps what is there: the way a card or a list of scores is written."""

    def build(head):
        lines = (head.read("notes.txt") or b"").decode().splitlines()
        if line not in lines:
            lines.append(line)
        return [CommitOperationAdd("notes.txt", "".join(f"{one}\n" for one in lines).encode())]

    return build


def titles(hub, repo_id=REPO, repo_type="model"):
    return [title for _, title, _ in hub.commits(repo_id, repo_type)]


def test_a_missing_repo_is_created_privately_and_written_in_one_commit(hub):
    url = commit(REPO, put("a.txt", "one\n"), message="First", api=hub.api())
    assert url == f"{hub.endpoint}/{REPO}/commit/{hub.head(REPO)}"
    assert hub.is_private(REPO)
    assert titles(hub) == ["First", "initial commit"]
    assert hub.files(REPO)["a.txt"] == b"one\n"


def test_a_missing_repo_is_public_only_when_asked(hub):
    commit(REPO, put("a.txt", "one\n"), message="First", private=False, api=hub.api())
    assert not hub.is_private(REPO)


def test_the_same_content_makes_no_second_commit(hub):
    first = commit(REPO, put("a.txt", "one\n"), message="First", api=hub.api())
    assert commit(REPO, put("a.txt", "one\n"), message="Again", api=hub.api()) == first
    assert titles(hub) == ["First", "initial commit"]


def test_the_same_large_file_makes_no_second_commit(hub):
    def build(head):
        return [CommitOperationAdd("adapter_model.safetensors", b"weights" * 1000)]

    first = commit(REPO, build, message="First", api=hub.api())
    assert commit(REPO, build, message="Again", api=hub.api()) == first


def test_deleting_what_is_not_there_makes_no_commit(hub):
    hub.create(REPO, files={"a.txt": b"one\n"})

    def build(head):
        return [CommitOperationDelete("gone.txt"), CommitOperationDelete("gone/")]

    commit(REPO, build, message="Delete", api=hub.api())
    assert titles(hub) == ["Upload files", "initial commit"]


def test_a_deleted_file_goes(hub):
    hub.create(REPO, files={"a.txt": b"one\n", "old/b.txt": b"two\n"})
    commit(REPO, lambda head: [CommitOperationDelete("old/")], message="Delete", api=hub.api())
    assert "old/b.txt" not in hub.files(REPO)


def test_dataset_repos_are_written_the_same_way(hub):
    url = commit(
        "alice/data", put("a.txt", "one\n"), message="First", repo_type="dataset", api=hub.api()
    )
    head = hub.head("alice/data", "dataset")
    assert url == f"{hub.endpoint}/datasets/alice/data/commit/{head}"


def test_somebody_elses_commit_in_between_is_read_and_kept(hub):
    hub.create(REPO, files={"notes.txt": b"before\n"})
    hub.fault("POST .*/commit/main", "commit", files={"notes.txt": b"before\nbob's\n"})
    commit(REPO, append_line("alice's"), message="Add a line", api=hub.api())
    assert hub.files(REPO)["notes.txt"] == b"before\nbob's\nalice's\n"
    assert titles(hub)[:2] == ["Add a line", "Somebody else was here"]


def test_ten_commits_in_between_are_all_kept(hub):
    hub.create(REPO, files={"notes.txt": b""})
    for number in range(10):
        text = "".join(f"bob {n}\n" for n in range(number + 1)).encode()
        hub.fault("POST .*/commit/main", "commit", files={"notes.txt": text})
    commit(REPO, append_line("alice"), message="Add a line", api=hub.api())
    assert hub.files(REPO)["notes.txt"].decode().splitlines() == [
        *(f"bob {n}" for n in range(10)),
        "alice",
    ]


@pytest.mark.slow
def test_an_endless_race_ends_in_one_line_with_nothing_written(hub):
    hub.create(REPO)
    hub.fault("POST .*/commit/main", "commit", times=None, files={"b.txt": b"bob\n"})
    with pytest.raises(KoSentError, match=r"others committed 21 times .* run the same command"):
        commit(REPO, put("a.txt", "one\n"), message="First", api=hub.api())
    assert "a.txt" not in hub.files(REPO)


def test_a_lost_answer_makes_no_second_commit(hub):
    hub.create(REPO)
    hub.fault("POST .*/commit/main", "lost_answer")
    url = commit(REPO, put("a.txt", "one\n"), message="First", api=hub.api())
    assert url.endswith(hub.head(REPO))
    assert titles(hub) == ["First", "initial commit"]


def test_a_lost_answer_makes_no_second_pull_request(hub):
    hub.create(REPO, files={"a.txt": b"one\n"})
    hub.fault("POST .*/commit/main.*create_pr", "lost_answer")
    url = commit(REPO, put("a.txt", "two\n"), message="Fix", create_pr=True, api=hub.api("bob"))
    assert url == f"{hub.endpoint}/{REPO}/discussions/1"
    assert len(hub.pull_requests(REPO)) == 1


def test_a_fault_that_passes_is_waited_out(hub):
    hub.create(REPO)
    hub.fault("GET /api/models/alice/model($|\\?)", "status", code=503)
    hub.fault("GET .*/tree/", "reset")
    hub.fault("POST .*/validate-yaml", "html")
    hub.fault("POST .*/commit/main", "status", code=429, retry_after=0)
    text = "---\nlicense: mit\n---\n# Hello\n"
    commit(REPO, put("README.md", text), message="First", api=hub.api())
    assert hub.files(REPO)["README.md"] == text.encode()
    assert titles(hub) == ["First", "initial commit"]


def test_a_fault_that_stays_ends_with_what_the_hub_said(hub):
    hub.create(REPO)
    hub.fault("POST .*/commit/main", "status", times=None, code=503)
    with pytest.raises(KoSentError, match=r"alice/model: the Hub answered 503 .* run the same"):
        commit(REPO, put("a.txt", "one\n"), message="First", api=hub.api())
    assert titles(hub) == ["initial commit"]


def test_a_repo_that_is_not_ours_is_refused_by_name(hub):
    hub.create(REPO, files={"a.txt": b"one\n"})
    with pytest.raises(KoSentError, match=f"{REPO}: your token may not write .*--create-pr"):
        commit(REPO, put("a.txt", "two\n"), message="Fix", api=hub.api("bob"))
    assert hub.files(REPO)["a.txt"] == b"one\n"


def test_a_read_only_token_is_told_so(hub):
    hub.create(REPO, files={"a.txt": b"one\n"})
    with pytest.raises(KoSentError, match="use a token with write permission"):
        commit(REPO, put("a.txt", "two\n"), message="Fix", api=hub.api(read_only=True))


def test_an_organisation_we_may_not_write_to_gets_no_new_repo(hub):
    with pytest.raises(KoSentError, match="kosent/new: your token may not write"):
        commit("kosent/new", put("a.txt", "one\n"), message="First", api=hub.api("bob"))
    assert not hub.exists("kosent/new")


def test_a_pull_request_is_opened_once(hub):
    hub.create(REPO, files={"a.txt": b"one\n"})
    urls = {
        commit(REPO, put("a.txt", "two\n"), message="Fix", create_pr=True, api=hub.api("bob"))
        for _ in range(2)
    }
    assert urls == {f"{hub.endpoint}/{REPO}/discussions/1"}
    (request,) = hub.pull_requests(REPO)
    assert (request.title, request.author) == ("Fix", "bob")
    assert hub.files(REPO, revision="refs/pr/1")["a.txt"] == b"two\n"
    assert hub.files(REPO)["a.txt"] == b"one\n"


def test_another_change_opens_another_pull_request(hub):
    hub.create(REPO, files={"a.txt": b"one\n"})
    for text in ("two\n", "three\n"):
        commit(REPO, put("a.txt", text), message="Fix", create_pr=True, api=hub.api("bob"))
    assert len(hub.pull_requests(REPO)) == 2


def test_what_must_stay_private_never_enters_a_public_repo(hub):
    hub.create(REPO, private=False)
    for create_pr in (False, True):
        with pytest.raises(KoSentError, match="this repo is public"):
            commit(
                REPO,
                put("a.txt", "one\n"),
                message="First",
                private=True,
                create_pr=create_pr,
                api=hub.api(),
            )
    assert "a.txt" not in hub.files(REPO)
    assert hub.pull_requests(REPO) == []


def test_metadata_the_hub_refuses_is_named(hub):
    text = "---\nlicense: mine\n---\n# Hello\n"
    with pytest.raises(KoSentError, match=r"refuses this card's metadata: .*license.*fix README"):
        commit(REPO, put("README.md", text), message="First", api=hub.api())


def test_a_bare_name_is_refused_before_anything_is_asked(hub):
    with pytest.raises(KoSentError, match="write it as OWNER/NAME"):
        commit("model", put("a.txt", "one\n"), message="First", api=hub.api())
    assert hub.journal == []


def test_bytes_damaged_on_the_way_are_read_again(hub):
    hub.create(REPO, files={"a.txt": b"one\n" * 100})
    hub.fault("GET .*/resolve/.*a.txt", "corrupt")
    assert read_head(REPO, api=hub.api()).read("a.txt") == b"one\n" * 100


def test_bytes_that_stay_damaged_are_not_believed(hub):
    hub.create(REPO, files={"a.txt": b"one\n" * 100})
    hub.fault("GET .*/resolve/.*a.txt", "corrupt", times=None)
    with pytest.raises(KoSentError, match=r"alice/model/a\.txt: what arrived is not what"):
        read_head(REPO, api=hub.api()).read("a.txt")
