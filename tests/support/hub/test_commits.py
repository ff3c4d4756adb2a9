"""Commits, pull requests and large files, made by the real client."""

import threading
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    EvalResultEntry,
    eval_result_entries_to_yaml,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from yaml import safe_dump

CARD = "---\nlicense: {}\n---\n"


def add(path, content):
    return CommitOperationAdd(path, content if isinstance(content, bytes) else content.encode())


def commit(api, *operations, repo="alice/m", title="Change", **options):
    return api.create_commit(repo, list(operations), commit_message=title, **options)


def test_small_and_large_files_in_one_commit(hub):
    hub.create("alice/m")
    made = commit(
        hub.api(),
        add("README.md", CARD.format("mit")),
        add("w.safetensors", b"\0" * 99),
        add("plot.png", b"\x89PNG\0\0"),
        commit_description="Why",
    )
    assert made.oid == hub.head("alice/m")
    assert str(made) == f"{hub.endpoint}/alice/m/commit/{made.oid}"
    assert [title for _, title, _ in hub.commits("alice/m")] == ["Change", "initial commit"]
    files = hub.files("alice/m")
    assert (files["w.safetensors"], files["plot.png"]) == (b"\0" * 99, b"\x89PNG\0\0")
    # The Hub names a large file that no pattern covers, in the same commit.
    assert b"plot.png filter=lfs" in files[".gitattributes"]
    assert not any("authorization" in e.headers for e in hub.journal if e.origin == "storage")


def test_same_content_makes_no_commit(hub):
    head = hub.create("alice/m", files={"a.txt": "a", "w.bin": b"\0"})
    made = commit(hub.api(), add("a.txt", "a"), add("w.bin", b"\0"))
    assert made.oid == head == hub.head("alice/m")
    assert not [e for e in hub.journal if "/commit/" in e.path or e.origin == "storage"]


def test_parent_commit_that_is_not_the_head_is_412(hub):
    old = hub.create("alice/m", files={"a.txt": "a"})
    new = hub.land("alice/m", {"a.txt": "theirs"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        commit(hub.api(), add("a.txt", "ours"), parent_commit=old)
    assert error.value.response.status_code == 412
    assert hub.files("alice/m")["a.txt"] == b"theirs"
    made = commit(hub.api(), add("a.txt", "ours"), parent_commit=new)
    assert hub.head("alice/m") == made.oid


def test_without_parent_commit_a_concurrent_edit_is_overwritten(hub):
    hub.create("alice/m", files={"a.txt": "a"})
    hub.fault("POST .*/commit/main", "commit", files={"a.txt": "theirs"})
    commit(hub.api(), add("a.txt", "ours"))
    assert hub.files("alice/m")["a.txt"] == b"ours"
    assert [author for *_, author in hub.commits("alice/m")] == ["alice", "bob", "alice", "alice"]


def test_delete_and_copy(hub):
    hub.create("alice/m", files={"a.txt": "a", "d/1": "1", "d/2": "2", "w.bin": b"\0"})
    commit(
        hub.api(),
        CommitOperationDelete("a.txt"),
        CommitOperationDelete("d/"),
        CommitOperationCopy("w.bin", "v.bin"),
    )
    assert sorted(hub.files("alice/m")) == [".gitattributes", "v.bin", "w.bin"]
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        commit(hub.api(), CommitOperationDelete("a.txt"))


def test_who_may_not_write_is_told_of_pull_requests(hub):
    hub.create("kosent/m")
    for user in ("bob", "carol"):
        with pytest.raises(HfHubHTTPError, match="create_pr=1") as error:
            commit(hub.api(user), add("a.txt", "a"), repo="kosent/m")
        assert error.value.response.status_code == 403
    for options in ({}, {"create_pr": True}):
        with pytest.raises(HfHubHTTPError, match="must use a write token"):
            commit(hub.api(read_only=True), add("a", "a"), repo="kosent/m", **options)
    with pytest.raises(HfHubHTTPError):
        commit(hub.api(None), add("a.txt", "a"), repo="kosent/m")
    assert len(hub.commits("kosent/m")) == 1


def test_pull_request_with_a_large_file_by_a_stranger(hub):
    base = hub.create("kosent/m", files={"a.txt": "a"})
    made = commit(
        hub.api("bob"),
        add("a.txt", "b"),
        add("w.bin", b"\0"),
        repo="kosent/m",
        title="Ours",
        create_pr=True,
        parent_commit=base,
    )
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    assert made.pr_url == f"{hub.endpoint}/kosent/m/discussions/1"
    [pull] = hub.pull_requests("kosent/m")
    assert (pull.title, pull.author, pull.status, pull.base) == ("Ours", "bob", "open", base)
    assert hub.head("kosent/m") == base
    assert hub.files("kosent/m", revision="refs/pr/1")["a.txt"] == b"b"
    downloaded = hub.api("bob").hf_hub_download("kosent/m", "a.txt", revision="refs/pr/1")
    assert Path(downloaded).read_text() == "b"
    # Its author may add to it.
    commit(hub.api("bob"), add("c.txt", "c"), repo="kosent/m", revision="refs/pr/1")
    shown = hub.api("bob").get_discussion_details("kosent/m", 1)
    assert (shown.is_pull_request, shown.git_reference) == (True, "refs/pr/1")
    [listed] = hub.api().get_repo_discussions("kosent/m", discussion_type="pull_request")
    assert listed.num == 1
    hub.api().comment_discussion("kosent/m", 1, "Thanks")
    hub.api().merge_pull_request("kosent/m", 1)
    assert hub.pull_requests("kosent/m")[0].status == "merged"
    assert hub.files("kosent/m")["c.txt"] == b"c"


def test_pull_request_that_conflicts_is_not_merged(hub):
    hub.create("alice/m", files={"a.txt": "a"})
    commit(hub.api("bob"), add("a.txt", "b"), create_pr=True)
    hub.land("alice/m", {"a.txt": "c"})
    assert hub.api().get_discussion_details("alice/m", 1).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError):
        hub.api().merge_pull_request("alice/m", 1)
    hub.api().change_discussion_status("alice/m", 1, "closed")
    assert hub.pull_requests("alice/m")[0].status == "closed"


def test_large_file_in_parts_and_not_a_second_time(hub, tmp_path):
    hub.create("alice/m")
    hub.part_size = 1000
    content = bytes(range(256)) * 10
    file = tmp_path / "w.bin"
    file.write_bytes(content)
    hub.api().upload_file(path_or_fileobj=file, path_in_repo="w.bin", repo_id="alice/m")
    assert hub.files("alice/m")["w.bin"] == content
    assert len([e for e in hub.journal if e.method == "PUT"]) == 3
    hub.clear_journal()
    hub.api().upload_file(path_or_fileobj=file, path_in_repo="again.bin", repo_id="alice/m")
    assert hub.files("alice/m")["again.bin"] == content
    assert not [e for e in hub.journal if e.method == "PUT"]


def test_invalid_card_is_refused_before_anything_is_uploaded(hub):
    head = hub.create("alice/m")
    with pytest.raises(ValueError, match='"license" must be one of'):
        commit(hub.api(), add("README.md", CARD.format("mine")), add("w.bin", b"\0"))
    assert [e.path for e in hub.journal] == ["/api/validate-yaml"]
    assert hub.head("alice/m") == head


def test_invalid_card_that_slips_through_validation_is_refused_at_the_commit(hub):
    head = hub.create("alice/m")
    hub.fault("POST /api/validate-yaml", "status", code=200)
    with pytest.raises(HfHubHTTPError, match='"license" must be one of'):
        commit(hub.api(), add("README.md", CARD.format("mine")))
    assert hub.head("alice/m") == head


def test_eval_results_show_in_model_info(hub):
    entry = EvalResultEntry("kosent/d", "bleu", 1.5, source_url="https://example.com/run")
    text = safe_dump(eval_result_entries_to_yaml([entry]))
    hub.create("alice/m", files={".eval_results/kosent.yaml": text})
    hub.land("alice/m", {".eval_results/broken.yaml": "- dataset: {id: ./local}\n"})
    shown = hub.api().model_info("alice/m", expand=["evalResults"]).eval_results
    assert shown == [entry]


def test_eight_writers_with_parent_commit_lose_nothing(hub):
    hub.create("kosent/m")

    def write(number):
        api = hub.api()
        while True:
            head = api.model_info("kosent/m").sha
            operation = add(f"{number}.txt", str(number))
            try:
                commit(api, operation, repo="kosent/m", parent_commit=head)
                return
            except HfHubHTTPError as error:
                assert error.response.status_code == 412

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.commits("kosent/m")) == 9
    assert sorted(hub.files("kosent/m")) == [".gitattributes", *(f"{n}.txt" for n in range(8))]
