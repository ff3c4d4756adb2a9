"""Each fault once, and what the real client makes of it: success, or which error.

What is asserted here of the client is what our own code has to be ready for.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from tests.support.hub import Hub

COMMIT = "POST .*/commit/main"
PREUPLOAD = "POST .*/preupload/"
GET_FILE = "GET .*/resolve/"
FOR_EVER = None


@pytest.fixture
def repo(hub):
    hub.create("alice/m", files={"a.txt": "one" * 100, "w.bin": b"\0" * 5000})
    return "alice/m"


def write(hub, content="new", path="new.txt", **options):
    data = content if isinstance(content, bytes) else content.encode()
    return hub.api().create_commit(
        "alice/m", [CommitOperationAdd(path, data)], commit_message="New", **options
    )


def read(hub, path="a.txt", **options) -> bytes:
    return Path(hub.api().hf_hub_download("alice/m", path, **options)).read_bytes()


def landed(hub) -> bool:
    return "new.txt" in hub.files("alice/m")


def asked(hub, part) -> int:
    return len([entry for entry in hub.journal if part in entry.path])


def test_a_misspelt_fault_is_an_error_at_once(hub):
    for kind, options in (("explode", {}), ("status", {"cod": 1}), ("reset", {"when": "ever"})):
        with pytest.raises(ValueError):
            hub.fault(".*", kind, **options)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_commit_is_never_retried(hub, repo, code):
    hub.fault(COMMIT, "status", code=code, retry_after=0)
    with pytest.raises(HfHubHTTPError) as error:
        write(hub)
    assert error.value.response.status_code == code
    assert asked(hub, "/commit/") == 1
    assert not landed(hub)


@pytest.mark.parametrize("options", [{"code": 429, "retry_after": 0}, {"code": 503}])
def test_preupload_is_retried(hub, repo, options):
    hub.fault(PREUPLOAD, "status", **options)
    write(hub)
    assert landed(hub)
    assert [e.status for e in hub.journal if "preupload" in e.path] == [options["code"], 200]


def test_retry_after_is_waited_for(hub, repo):
    hub.fault(PREUPLOAD, "status", code=429, retry_after=1)
    start = time.monotonic()
    write(hub)
    assert time.monotonic() - start > 1.9


@pytest.mark.parametrize("when", ["before", "reading", "unanswered"])
def test_reset_while_asking_is_retried_for_preupload_and_raw_for_commit(hub, repo, when):
    hub.fault(PREUPLOAD, "reset", when=when)
    write(hub)
    assert [e.status for e in hub.journal if "preupload" in e.path] == [None, 200]
    hub.fault(COMMIT, "reset", when=when)
    with pytest.raises(httpx2.TransportError):
        write(hub, path="second.txt")
    assert "second.txt" not in hub.files("alice/m")


def test_lost_answer_of_a_commit_that_landed(hub, repo):
    hub.fault(COMMIT, "lost_answer")
    with pytest.raises(httpx2.TransportError):
        write(hub)
    assert landed(hub)
    assert hub.journal[-1].status is None


def test_reset_after_the_answer_does_no_harm(hub, repo):
    hub.fault(GET_FILE, "reset", when="after")
    assert read(hub) == b"one" * 100
    # Asked at once, the client would send the next request into the dying connection.
    time.sleep(0.6)
    assert hub.api().model_info("alice/m").id == "alice/m"


def test_reset_in_the_middle_of_a_download_is_raw(hub, repo):
    hub.fault(GET_FILE, "reset", when="during")
    with pytest.raises(httpx2.ReadError):
        read(hub)
    assert read(hub) == b"one" * 100


def test_truncated_download_starts_again(hub, repo):
    hub.fault("GET /cdn/", "truncate", keep=1000)
    assert read(hub, "w.bin") == b"\0" * 5000
    # The client writes in pieces of 10 MiB; what is short of one is asked for again.
    assert "range" not in hub.journal[-1].headers


def test_truncated_download_of_a_very_large_file_is_resumed(hub, repo):
    content = bytes(range(256)) * (12 * 2**12)
    hub.land("alice/m", {"large.bin": content})
    hub.fault("GET /cdn/", "truncate", keep=11 * 2**20)
    assert read(hub, "large.bin") == content
    assert hub.journal[-1].headers["range"] == f"bytes={10 * 2**20}-"
    assert hub.journal[-1].status == 206


def test_corrupt_download_passes_unnoticed(hub, repo):
    hub.fault("GET /cdn/", "corrupt")
    assert read(hub, "w.bin") == b"\1" * 5000


def test_trickle_arrives(hub, repo):
    hub.fault("a.txt", "trickle", chunk=100, pause=0.1)
    start = time.monotonic()
    assert read(hub) == b"one" * 100
    assert time.monotonic() - start > 0.2


def test_delay_runs_into_the_caller_s_timeout(hub, repo):
    hub.fault("GET /api/models/", "delay", seconds=0.5)
    with pytest.raises(httpx2.TimeoutException):
        hub.api().model_info("alice/m", timeout=0.1)


def test_error_of_a_download_is_retried_at_its_head_but_not_at_its_get(hub, repo):
    hub.fault("HEAD .*/resolve/", "status", code=503)
    assert read(hub) == b"one" * 100
    hub.fault("GET /cdn/", "status", code=500)
    with pytest.raises(HfHubHTTPError):
        read(hub, "w.bin")


def test_warm_cache_answers_for_a_hub_in_trouble_and_for_one_that_refuses(hub, repo):
    old = read(hub)
    hub.land("alice/m", {"a.txt": "two"})
    fault = hub.fault("HEAD .*/resolve/", "status", FOR_EVER, code=503)
    assert read(hub) == old
    assert fault.hits == 1
    hub.clear_faults()
    hub.delete("alice/m")
    assert read(hub) == old


def test_page_instead_of_a_hub(hub, repo):
    hub.fault(".*", "html", FOR_EVER)
    with pytest.raises(LocalEntryNotFoundError, match="does not seem to be served by"):
        read(hub)
    with pytest.raises(json.JSONDecodeError):
        hub.api().model_info("alice/m")
    with pytest.raises(json.JSONDecodeError):
        write(hub, "---\nlicense: mit\n---\n", "README.md")


def test_storage_that_fails_once_and_for_ever(hub, repo):
    hub.fault("PUT /upload/", "status", code=500)
    write(hub, b"\0" * 9)
    assert landed(hub)
    hub.fault("PUT /upload/", "status", FOR_EVER, code=403)
    with pytest.raises(RuntimeError, match=r"Error while uploading 'v.bin'"):
        write(hub, b"\0" * 10, "v.bin")
    hub.clear_faults()
    hub.fault("objects/batch", "lfs_refused", message="Storage is full")
    with pytest.raises(ValueError, match="Storage is full"):
        write(hub, b"\0" * 11, "v.bin")
    assert "v.bin" not in hub.files("alice/m")


def test_commits_landing_in_between(hub, repo):
    head = hub.head("alice/m")
    hub.fault(COMMIT, "commit", times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError) as error:
            write(hub, parent_commit=head)
        assert error.value.response.status_code == 412
        head = hub.head("alice/m")
    write(hub, parent_commit=head)
    assert [author for *_, author in hub.commits("alice/m")][:3] == ["alice", "bob", "bob"]
    assert hub.files("alice/m")["foreign.txt"] == b"commit 2\n"


def test_gathered_commits_are_handled_once_all_are_there(hub, repo):
    hub.fault(COMMIT, "gather", times=2)
    head = hub.head("alice/m")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(write, hub, path="one.txt", parent_commit=head)
        assert not wait([first], timeout=0.3).done
        second = pool.submit(write, hub, path="two.txt", parent_commit=head)
        wait([first, second])
    (error,) = filter(None, (first.exception(), second.exception()))
    assert error.response.status_code == 412


def test_repo_deleted_and_token_expired_meanwhile(hub, repo):
    hub.fault(COMMIT, "expire_token")
    with pytest.raises(HfHubHTTPError, match="is expired") as error:
        write(hub)
    assert error.value.response.status_code == 401
    hub.accounts.tokens.clear()
    hub.fault(COMMIT, "delete_repo")
    with pytest.raises(RepositoryNotFoundError):
        write(hub)
    assert not hub.exists("alice/m")


def test_create_repo_asks_again_at_once_on_a_conflicting_operation(hub):
    said = "Cannot create repo: another conflicting operation is in progress"
    hub.fault("POST /api/repos/create", "status", times=3, code=409, message=said)
    hub.api().create_repo("alice/m")
    assert [e.status for e in hub.journal] == [409, 409, 409, 200]


def test_no_hub_at_all(tmp_path):
    with Hub(tmp_path) as hub:
        api = hub.api()
    with pytest.raises(httpx2.ConnectError):
        api.model_info("alice/m")
