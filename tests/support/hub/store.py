"""What a Hub keeps: repositories, commits, references and large files, all in memory.

Git's ideas without git: a blob is named by the hash git would give it, a commit by the hash
of what it says, and a reference is a name for a commit. Nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

MAIN = "refs/heads/main"

LARGE = """
    *.7z *.arrow *.bin *.bz2 *.ckpt *.gz *.h5 *.joblib *.msgpack *.npy *.npz *.onnx *.parquet
    *.pickle *.pkl *.pt *.pth *.safetensors *.tar *.zip *.zst *tfevents*
"""
RULE = "{} filter=lfs diff=lfs merge=lfs -text\n"
GITATTRIBUTES = "".join(map(RULE.format, LARGE.split())).encode()


class HubError(Exception):
    """What the Hub answers instead: a status, its error code for the header, a message."""

    def __init__(self, status: int, code: str | None, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class NothingChanged(Exception):
    """The commit would leave the tree as it is."""


@dataclass(frozen=True)
class Blob:
    """One version of one file; `sha256` is set when it is kept as a large file (LFS),
    and `xet`, the hash of Xet storage, when it came through that."""

    content: bytes | Path
    size: int
    oid: str
    sha256: str | None = None
    xet: str | None = None

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    tree: dict[str, Blob] = field(repr=False)


@dataclass
class Discussion:
    """A discussion or a pull request; the latter has commits on `refs/pr/<num>`."""

    num: int
    title: str
    author: str
    is_pull_request: bool
    date: str
    base: str | None = None
    status: str = "open"
    events: list[dict] = field(default_factory=list)
    merged: str | None = None


@dataclass
class Repo:
    """One repository. `gated` is False, "auto" or "manual"; `readers` passed the gate."""

    type: str
    id: str
    private: bool
    gated: bool | str
    created: str
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    discussions: list[Discussion] = field(default_factory=list)
    readers: set[str] = field(default_factory=set)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def ref_of(self, revision: str) -> str | None:
        """Full name of the branch, tag or pull request `revision` names, None for a hash."""
        names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((name for name in names if name in self.refs), None)

    def commit_at(self, revision: str) -> Commit:
        """The commit `revision` (branch, tag, `refs/pr/N`, full or short hash) names."""
        ref = self.ref_of(revision)
        if ref is not None:
            return self.commits[self.refs[ref]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found = [c for sha, c in self.commits.items() if sha.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def history(self, revision: str) -> list[Commit]:
        """Commits from `revision` back to the first one, newest first."""
        commits, commit = [], self.commit_at(revision)
        while True:
            commits.append(commit)
            if commit.parent is None:
                return commits
            commit = self.commits[commit.parent]


class Store:
    """All repositories. `lock` guards everything: whoever reads or writes holds it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes | Path] = {}
        self.xet_hashes: dict[str, str] = {}  # of what came through Xet, by SHA-256

    def repo(self, repo_type: str, repo_id: str) -> Repo:
        try:
            return self.repos[repo_type, repo_id]
        except KeyError:
            raise HubError(404, "RepoNotFound", "Repository not found") from None

    def create(
        self, repo_type: str, repo_id: str, *, private: bool, author: str, gated: bool | str = False
    ) -> Repo:
        """A new repository whose first commit holds `.gitattributes`, as on the Hub."""
        with self.lock:
            if (repo_type, repo_id) in self.repos:
                raise HubError(
                    409, None, f"You already created this {repo_type} repo: {repo_type}s/{repo_id}"
                )
            repo = Repo(repo_type, repo_id, private, gated, created=now())
            self.repos[repo_type, repo_id] = repo
            self.commit(
                repo, MAIN, {".gitattributes": regular(GITATTRIBUTES)}, "initial commit", author
            )
            return repo

    def commit(
        self,
        repo: Repo,
        ref: str,
        changes: dict[str, Blob | None],
        title: str,
        author: str,
        *,
        message: str = "",
        parent: str | None = None,
        allow_empty: bool = False,
    ) -> Commit:
        """Put one commit on `ref`: `changes` maps a path to its new blob, or None to delete it.

        `parent` is only needed where `ref` is new. Raises NothingChanged if the tree stays
        as it is, unless `allow_empty`.
        """
        with self.lock:
            parent = repo.refs.get(ref, parent)
            before = repo.commits[parent].tree if parent else {}
            tree = dict(before)
            for path, blob in changes.items():
                if blob is None:
                    tree.pop(path, None)
                else:
                    tree[path] = blob
            _track_large_files(tree, changes)
            tree = dict(sorted(tree.items()))
            oids = [[path, blob.oid] for path, blob in tree.items()]
            if parent and not allow_empty and oids == [[p, b.oid] for p, b in before.items()]:
                raise NothingChanged
            # The number of commits so far stands in for git's time stamp, so that the same
            # story gives the same hashes.
            story = [repo.type, repo.id, parent, title, message, author, len(repo.commits)]
            sha = hashlib.sha1(json.dumps([story, oids]).encode()).hexdigest()
            commit = Commit(sha, parent, title, message, author, now(), tree)
            repo.commits[sha] = commit
            repo.refs[ref] = sha
            return commit

    def large_blob(self, sha256: str) -> Blob:
        """The blob of an uploaded large file; its oid is that of git's pointer file."""
        try:
            content = self.large[sha256]
        except KeyError:
            raise HubError(
                400,
                None,
                "Your push was rejected because an LFS pointer pointed to a file that does not "
                f"exist. For instance, this can happen if you used git push --no-verify: {sha256}",
            ) from None
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        oid = git_oid(pointer(sha256, size))
        return Blob(content, size, oid, sha256, self.xet_hashes.get(sha256))

    def blob(self, path: str, content: bytes | Path, attributes: bytes = GITATTRIBUTES) -> Blob:
        """The blob of a file put here by the server itself, large if its name says so."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if not is_large(path, size, _start(content), attributes):
            return regular(content if isinstance(content, bytes) else content.read_bytes())
        sha256 = sha256_of(content)
        self.large.setdefault(sha256, content)
        return self.large_blob(sha256)


def regular(content: bytes) -> Blob:
    return Blob(content, len(content), git_oid(content))


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """Text git keeps in place of a large file."""
    head = "version https://git-lfs.github.com/spec/v1"
    return f"{head}\noid sha256:{sha256}\nsize {size}\n".encode()


def sha256_of(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_large(path: str, size: int, sample: bytes, attributes: bytes) -> bool:
    """Whether the Hub would keep this file as a large one: by name, by size, or as not text."""
    if size == 0:
        return False
    return size > 10 * 2**20 or b"\0" in sample or _tracked(path, attributes)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _start(content: bytes | Path) -> bytes:
    """The first 512 bytes, by which the Hub tells text from other files."""
    if isinstance(content, bytes):
        return content[:512]
    with content.open("rb") as file:
        return file.read(512)


def _tracked(path: str, attributes: bytes) -> bool:
    name = path.rsplit("/", 1)[-1]
    for line in attributes.decode().splitlines():
        pattern, *rest = line.split() or [""]
        if "filter=lfs" in rest and (fnmatch(name, pattern) or fnmatch(path, pattern)):
            return True
    return False


def _track_large_files(tree: dict[str, Blob], changes: dict[str, Blob | None]) -> None:
    """Name every large file in `.gitattributes`, as the Hub does in the same commit."""
    attributes = tree[".gitattributes"].read() if ".gitattributes" in tree else b""
    for path, blob in sorted(changes.items()):
        if blob is not None and blob.sha256 and not _tracked(path, attributes):
            attributes += RULE.format(path).encode()
            tree[".gitattributes"] = regular(attributes)
