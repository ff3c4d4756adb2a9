"""Downloads by the real client: revisions, redirection to storage, ranges, caches."""

from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfFileSystem, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

LARGE = bytes(range(256)) * 40


@pytest.fixture
def repo(hub):
    hub.create(
        "alice/m", private=True, files={"a.txt": "one", "한글 이름.txt": "둘", "w.bin": LARGE}
    )
    return "alice/m"


def test_small_file_comes_from_the_hub_and_a_large_one_from_storage(hub, repo):
    api = hub.api()
    assert Path(api.hf_hub_download(repo, "a.txt")).read_text() == "one"
    assert Path(api.hf_hub_download(repo, "한글 이름.txt")).read_text("utf-8") == "둘"
    assert Path(api.hf_hub_download(repo, "w.bin")).read_bytes() == LARGE
    redirect, download = hub.journal[-2:]
    assert redirect.line == "HEAD /alice/m/resolve/main/w.bin 302"
    assert (download.origin, download.method, download.status) == ("storage", "GET", 200)
    assert "authorization" in redirect.headers
    assert "authorization" not in download.headers


def test_metadata_of_both_kinds(hub, repo):
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    for name, size, length in (("a.txt", 3, 40), ("w.bin", len(LARGE), 64)):
        url = hf_hub_url(repo, name, endpoint=hub.endpoint)
        found = get_hf_file_metadata(url, token=hub.token())
        assert (found.commit_hash, found.size) == (hub.head(repo), size)
        assert len(str(found.etag)) == length


def test_revisions(hub, repo):
    old = hub.head(repo)
    hub.api().create_tag(repo, tag="v1")
    hub.land(repo, {"a.txt": "two"})
    for revision, content in (("main", "two"), (old, "one"), ("v1", "one")):
        assert Path(hub.api().hf_hub_download(repo, "a.txt", revision=revision)).read_text() == (
            content
        )
    with pytest.raises(RevisionNotFoundError):
        hub.api().hf_hub_download(repo, "a.txt", revision="v2")
    with pytest.raises(EntryNotFoundError):
        hub.api().hf_hub_download(repo, "b.txt")


def test_snapshot_is_taken_once(hub, repo, tmp_path):
    for _ in range(2):
        folder = snapshot_download(
            repo, endpoint=hub.endpoint, token=hub.token(), cache_dir=tmp_path
        )
        assert (Path(folder) / "w.bin").read_bytes() == LARGE
    downloads = [e for e in hub.journal if e.method == "GET" and "/resolve/" in e.path]
    assert len(downloads) == 3


def test_filesystem_reads_ranges(hub, repo):
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.token(), skip_instance_cache=True)
    assert sorted(map(str, files.ls(repo, detail=False))) == [
        f"alice/m/{name}" for name in (".gitattributes", "a.txt", "w.bin", "한글 이름.txt")
    ]
    with files.open(f"{repo}/w.bin", "rb", block_size=0) as file:
        assert file.read(3) == LARGE[:3]
    with files.open(f"{repo}/w.bin", "rb", block_size=100, cache_type="none") as file:
        file.seek(500)
        assert file.read(10) == LARGE[500:510]
    assert hub.journal[-1].status == 206
    assert hub.journal[-1].headers["range"] == "bytes=500-509"


def test_ranges_by_hand(hub, repo):
    def get(asked):
        headers = {"range": asked, "authorization": f"Bearer {hub.token()}"}
        return httpx2.get(f"{hub.endpoint}/alice/m/resolve/main/a.txt", headers=headers)

    first, last, beyond = get("bytes=0-1"), get("bytes=-2"), get("bytes=9-")
    assert (first.status_code, first.content) == (206, b"on")
    assert first.headers["content-range"] == "bytes 0-1/3"
    assert last.content == b"ne"
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */3")


def test_storage_address_without_its_signature_is_refused(hub, repo):
    hub.api().hf_hub_download(repo, "w.bin")
    path = hub.journal[-1].path
    assert httpx2.get(f"{hub.storage}{path}").status_code == 403


def test_one_connection_serves_many_requests(hub, repo):
    with httpx2.Client(headers={"authorization": f"Bearer {hub.token()}"}) as client:
        for _ in range(3):
            assert client.head(f"{hub.endpoint}/alice/m/resolve/main/none").status_code == 404
            assert client.post(f"{hub.endpoint}/api/nothing", content=b"x" * 99).status_code == 404
            assert client.get(f"{hub.endpoint}/api/whoami-v2").json()["name"] == "alice"
