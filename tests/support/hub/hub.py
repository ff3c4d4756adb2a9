"""A Hub for one test: the server running, and what a test does with it from behind."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.hub import accounts
from tests.support.hub.accounts import Accounts
from tests.support.hub.faults import Fault, Faults
from tests.support.hub.journal import Entry, Journal
from tests.support.hub.messages import Request
from tests.support.hub.server import Server
from tests.support.hub.store import MAIN, Commit, HubError, Repo, Store
from tests.support.hub.xet import Xet

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
OURS = re.compile(r"HF_|HUGGING|DATASETS_|TRANSFORMERS_|HTTPS?_PROXY|ALL_PROXY", re.I)


@dataclass(frozen=True)
class PullRequest:
    num: int
    title: str
    author: str
    status: str
    ref: str
    base: str
    sha: str


class Hub:
    """A running Hub. Use as a context manager, or through the `hub` fixture.

    `endpoint` is its address, `storage` the other one that large files go to and come from.
    `page_size` bounds a page of a listing, `part_size` (bytes) an upload in one piece. `jobs` are
    those that were started, as they were asked for.
    """

    def __init__(self, home: Path, port: int = 0):
        self.home = home
        self.store, self.accounts, self.faults = Store(), Accounts(), Faults()
        self._journal = Journal()
        self.xet = Xet()
        self.parts: dict[tuple[str, int], bytes] = {}
        self.jobs: list[dict[str, Any]] = []
        self._sizes()
        self._listen(port, 0)
        self.endpoint, self.storage = (server.address for server in self._servers)

    def __enter__(self) -> Hub:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away: from now on connections are refused."""
        for server in self._servers:
            server.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """For a while connections are refused."""
        ports = [server.port for server in self._servers]
        self.close()
        try:
            yield
        finally:
            self._listen(*ports)
            self._start()

    # For clients

    def token(self, user: str = "alice", read_only: bool = False) -> str:
        return self.accounts.token(user, read_only)

    def expire(self, token: str) -> None:
        """From now on the token is refused."""
        self.accounts.expire(token)

    def env(
        self,
        user: str | None = "alice",
        read_only: bool = False,
        home: Path | None = None,
        xet: bool = False,
    ) -> dict[str, str]:
        """Environment for a subprocess that talks to this Hub as `user`, None for a stranger.

        `home` is its HF_HOME: one for all subprocesses of a test unless told otherwise. With `xet`,
        large files travel as they do to and from the real Hub; else as LFS, which has no state.
        """
        env = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        env |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home or self.home),
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "TOKENIZERS_PARALLELISM": "false",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if user is not None:
            env["HF_TOKEN"] = self.token(user, read_only)
        return env

    def api(self, user: str | None = "alice", read_only: bool = False) -> HfApi:
        """The real client, in this process."""
        from huggingface_hub import HfApi

        token = self.token(user, read_only) if user is not None else False
        return HfApi(endpoint=self.endpoint, token=token)

    # Behind the scenes

    def create(
        self,
        repo_id: str,
        repo_type: str = "model",
        private: bool = False,
        gated: bool | str = False,
        files: Mapping[str, bytes | str | Path] | None = None,
        owner: str | None = None,
    ) -> str:
        """Make a repository without a request; its head's hash. `owner` is the author."""
        author = owner or repo_id.split("/")[0]
        gate = "auto" if gated is True else gated
        self.store.create(repo_type, repo_id, private=private, author=author, gated=gate)
        if files:
            return self.land(repo_id, files, repo_type, author=author, title="Upload files")
        return self.head(repo_id, repo_type)

    def land(
        self,
        repo_id: str,
        files: Mapping[str, bytes | str | Path | None],
        repo_type: str = "model",
        author: str = "bob",
        title: str = "Somebody else was here",
        revision: str = "main",
    ) -> str:
        """Put a commit there without a request, even one that changes nothing; its hash."""
        with self.store.lock:
            repo = self.store.repo(repo_type, repo_id)
            blobs = {
                path: None
                if content is None
                else self.store.blob(
                    path, content.encode() if isinstance(content, str) else content
                )
                for path, content in files.items()
            }
            ref = repo.ref_of(revision) or MAIN
            return self.store.commit(repo, ref, blobs, title, author, allow_empty=True).sha

    def admit(self, repo_id: str, user: str, repo_type: str = "model") -> None:
        """Let a user through the gate."""
        with self.store.lock:
            self.store.repo(repo_type, repo_id).readers.add(user)

    def delete(self, repo_id: str, repo_type: str = "model") -> None:
        with self.store.lock:
            self.store.repos.pop((repo_type, repo_id), None)

    def empty(self) -> None:
        """Forget everything: repositories, tokens, faults, the journal, and what was downloaded."""
        with self.store.lock:
            self.store.repos.clear()
            self.store.large.clear()
            self.store.xet_hashes.clear()
            self.xet = Xet()
        self.parts.clear()
        self.jobs.clear()
        self._sizes()
        shutil.rmtree(self.home, ignore_errors=True)
        self.accounts.tokens.clear()
        self.clear_faults()
        self.clear_journal()

    def exists(self, repo_id: str, repo_type: str = "model") -> bool:
        return (repo_type, repo_id) in self.store.repos

    def is_private(self, repo_id: str, repo_type: str = "model") -> bool:
        return self.store.repo(repo_type, repo_id).private

    def head(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> str:
        return self._commit(repo_id, repo_type, revision).sha

    def files(
        self, repo_id: str, repo_type: str = "model", revision: str = "main"
    ) -> dict[str, bytes]:
        """Content by path, `.gitattributes` included, as every repository on the Hub has it."""
        tree = self._commit(repo_id, repo_type, revision).tree
        return {path: blob.read() for path, blob in tree.items()}

    def commits(
        self, repo_id: str, repo_type: str = "model", revision: str = "main"
    ) -> list[tuple[str, str, str]]:
        """(sha, title, author), newest first; the last is the "initial commit" of creation."""
        with self.store.lock:
            history = self.store.repo(repo_type, repo_id).history(revision)
        return [(commit.sha, commit.title, commit.author) for commit in history]

    def pull_requests(self, repo_id: str, repo_type: str = "model") -> list[PullRequest]:
        with self.store.lock:
            repo = self.store.repo(repo_type, repo_id)
            return [
                PullRequest(d.num, d.title, d.author, d.status, ref, d.base or "", repo.refs[ref])
                for d in repo.discussions
                if d.is_pull_request and (ref := f"refs/pr/{d.num}")
            ]

    # Faults and the journal

    def fault(
        self, match: str, kind: str, times: int | None = 1, *, each: bool = False, **options: Any
    ) -> Fault:
        """Make the next `times` requests that match go wrong; see tests/support/hub/faults.py."""
        return self.faults.add(Fault(match, kind, times, options, each))

    def clear_faults(self) -> None:
        self.faults.clear()

    @property
    def journal(self) -> list[Entry]:
        return self._journal.entries()

    @property
    def asked(self) -> int:
        """Number of requests so far."""
        return len(self._journal)

    def clear_journal(self) -> None:
        self._journal.clear()

    # For the routes

    def record(self, entry: Entry) -> None:
        self._journal.add(entry)

    def visible(self, request: Request, repo_type: str, repo_id: str) -> Repo:
        """The repository, if the caller may know of it."""
        try:
            repo = self.store.repo(repo_type, repo_id)
        except HubError:
            raise accounts.missing_repo(request.token) from None
        return accounts.require_read(request.token, repo)

    def page_url(self, repo_type: str, repo_id: str) -> str:
        return f"{self.endpoint}/{PREFIXES[repo_type]}{repo_id}"

    def signature(self, sha256: str) -> str:
        """What a storage address carries instead of a token."""
        return hashlib.sha256(f"kosent {sha256}".encode()).hexdigest()[:32]

    def _start(self) -> None:
        for server in self._servers:
            server.start()

    def _listen(self, *ports: int) -> None:
        names = ("hub", "storage")
        self._servers = [Server(self, name, port) for name, port in zip(names, ports, strict=True)]

    def _sizes(self) -> None:
        self.page_size, self.part_size = 1000, 16 * 2**20

    def _commit(self, repo_id: str, repo_type: str, revision: str) -> Commit:
        with self.store.lock:
            return self.store.repo(repo_type, repo_id).commit_at(revision)
