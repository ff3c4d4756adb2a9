"""The one way in which this project writes to a Hub repo: a commit, merged with those of others.

The Hub's client sends a commit once and leaves the rest to its caller. Here the rest is one
loop: read the head, let `build` say what should change, send it with `parent_commit`. When
somebody else committed first (412), or no answer came, the loop starts over from the new head. A
commit whose answer was lost is found there: nothing is left to change. Requests that only read
are repeated by the session (session.py).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from model_card.publishing.errors import AGAIN, KoSentError, user_error, without_secrets
from model_card.publishing.hub_errors import may_pass, retry_after
from model_card.publishing.hub_ids import is_hub_id
from model_card.publishing.session import Backoff

Operation = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete

# Commits of others in a row: each is progress, so there may be more of them than faults.
MAX_RACES = 20
# Bytes. A file that is read from a repo goes into memory, and JSON takes many times its size there.
MAX_FILE_SIZE = 1 << 24


@dataclass(frozen=True)
class Head:
    """A repo at one commit; `sha` is None before the first one."""

    repo_id: str
    repo_type: str
    sha: str | None
    private: bool
    gated: bool
    _api: HfApi = field(repr=False)
    _files: dict[str, RepoFile] = field(repr=False)

    def paths(self) -> list[str]:
        """Every file's path, sorted."""
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        """The file's bytes, checked with the hash that the repo records; None if there is no file.

        Raises:
            KoSentError: a file over `MAX_FILE_SIZE`, or bytes that do not have that hash.
        """
        known = self._files.get(path)
        if known is None:
            return None
        if known.size > MAX_FILE_SIZE:
            raise KoSentError(
                f"{self.repo_id}/{path}",
                f"{known.size >> 20:,} MiB, and no card, record or picture has over "
                f"{MAX_FILE_SIZE >> 20}",
                "remove it from the repo",
            )
        for again in (False, True):
            data = self._download(path, again)
            if self._holds(CommitOperationAdd(path, data)):
                return data
        raise KoSentError(
            f"{self.repo_id}/{path}", "what arrived is not what the repo holds", AGAIN
        )

    def changed_by(self, operation: Operation) -> bool:
        """Whether the operation would alter anything."""
        if isinstance(operation, CommitOperationDelete):
            below = operation.path_in_repo.rstrip("/") + "/"
            return any(f"{path}/".startswith(below) for path in self._files)
        return not (isinstance(operation, CommitOperationAdd) and self._holds(operation))

    def url(self, endpoint: str) -> str:
        """The address of this commit, or of the repo before its first one."""
        kind = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        page = without_secrets(f"{endpoint}/{kind}{self.repo_id}")
        return f"{page}/commit/{self.sha}" if self.sha else page

    def _download(self, path: str, again: bool) -> bytes:
        local = self._api.hf_hub_download(
            self.repo_id,
            path,
            repo_type=self.repo_type,
            revision=self.sha,
            force_download=again,
        )
        return Path(local).read_bytes()

    def _holds(self, addition: CommitOperationAdd) -> bool:
        known = self._files.get(addition.path_in_repo)
        if known is None or known.size != addition.upload_info.size:
            return False
        if known.lfs is not None:
            return known.lfs.sha256 == addition.upload_info.sha256.hex()
        with addition.as_file() as file:
            return known.blob_id == git_hash(file.read())


def commit(
    repo_id: str,
    build: Callable[[Head], Sequence[Operation]],
    *,
    message: str,
    repo_type: str = "model",
    private: bool | None = None,
    create_pr: bool = False,
    branch: str | None = None,
    api: HfApi | None = None,
) -> str:
    """URL of the commit, or of the pull request, with the operations that `build` returns.

    `build` is called with the current head, and again after a race: on a head that has its
    operations already, it must return none that changes anything. If nothing changes there is no
    commit, and the URL is the head's (or that of your open pull request with the same title and
    content).

    A missing `branch` (main if None) is created at main's head. A missing repo is created, private
    unless `private=False`. With `private=True` a public repo is refused.

    Raises:
        KoSentError: no permission to write, a refused card, a public repo where a private one
            was promised, or `MAX_RACES` commits by others in a row.
    """
    api = api or HfApi()
    if not is_hub_id(repo_id):
        raise KoSentError(
            repo_id,
            "not a full repo id",
            "write it as OWNER/NAME, in letters A-Z, digits, - _ .",
        )
    races, backoff = 0, Backoff()
    while True:
        head = _head_or_new(api, repo_id, repo_type, private, create_pr, branch)
        if private and not head.private:
            raise KoSentError(
                repo_id,
                "this repo is public, and what you are pushing must stay private",
                "make the repo private on its settings page, or choose another name",
            )
        operations = [op for op in build(head) if head.changed_by(op)]
        if not operations:
            return head.url(api.endpoint)
        if create_pr and (url := _same_pull_request(api, head, operations, message)):
            return url
        try:
            info = api.create_commit(
                repo_id,
                operations,
                commit_message=message,
                repo_type=repo_type,
                parent_commit=head.sha,
                create_pr=create_pr,
                revision=branch,
            )
            return str(info.pr_url if create_pr else info.commit_url)
        except (HTTPError, ConnectionError, RuntimeError, ValueError) as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
            if status == 412 and races < MAX_RACES:
                races += 1
                time.sleep(random.uniform(0.02, min(0.05 * 2**races, 0.6)))
            elif status == 412:
                raise KoSentError(
                    repo_id,
                    f"others committed {races + 1} times while this tried to, so nothing "
                    "was written",
                    AGAIN,
                ) from error
            elif isinstance(error, HfHubHTTPError) and _forbidden(error):
                raise _refusal(repo_id, error, create_pr) from error
            elif "Invalid metadata in README.md" in str(error):
                raise KoSentError(
                    repo_id,
                    "the Hub refuses this card's metadata: "
                    f"{str(error).split('README.md.')[-1].strip()}",
                    "fix README.md between its --- lines",
                ) from None
            elif may_pass(error) or isinstance(error, json.JSONDecodeError):
                fault = user_error(error) or KoSentError(
                    repo_id, "the Hub's answer makes no sense", AGAIN
                )
                if not backoff.wait(fault, retry_after(error)):
                    raise fault from error
            else:
                raise


def read_head(
    repo_id: str,
    *,
    repo_type: str = "model",
    revision: str | None = None,
    api: HfApi | None = None,
) -> Head:
    """The repo at its newest commit (or at `revision`)."""
    api = api or HfApi()

    def tree(sha: str) -> dict[str, RepoFile]:
        entries = api.list_repo_tree(repo_id, recursive=True, repo_type=repo_type, revision=sha)
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    found = api.repo_info(repo_id, repo_type=repo_type, revision=revision)
    files = tree(found.sha) if found.sha else {}
    return Head(repo_id, repo_type, found.sha, bool(found.private), bool(found.gated), api, files)


def _head_or_new(
    api: HfApi,
    repo_id: str,
    repo_type: str,
    private: bool | None,
    create_pr: bool,
    branch: str | None,
) -> Head:
    try:
        return read_head(repo_id, repo_type=repo_type, revision=branch, api=api)
    except GatedRepoError:
        raise
    except RevisionNotFoundError:
        pass
    except RepositoryNotFoundError as error:
        # 401 is the Hub's answer to a bad token, and to none; creating would not go better.
        if create_pr or error.response.status_code == 401:
            raise
    try:
        api.create_repo(
            repo_id,
            repo_type=repo_type,
            private=private is not False,
            exist_ok=True,
            space_sdk="gradio" if repo_type == "space" else None,
        )
        if branch is not None:
            api.create_branch(repo_id, branch=branch, repo_type=repo_type, exist_ok=True)
    except HfHubHTTPError as error:
        if _forbidden(error):
            raise _refusal(repo_id, error, create_pr) from error
        raise
    return read_head(repo_id, repo_type=repo_type, revision=branch, api=api)


def _same_pull_request(
    api: HfApi, head: Head, operations: Sequence[Operation], message: str
) -> str | None:
    """URL of your open pull request with these operations, None if there is none.

    There is one when a push is repeated, or when the answer to it was lost.
    """
    mine: str | None = None
    discussions = api.get_repo_discussions(
        head.repo_id,
        repo_type=head.repo_type,
        discussion_type="pull_request",
        discussion_status="open",
    )
    for discussion in list(discussions):
        if discussion.title != message:
            continue
        mine = mine or api.whoami()["name"]
        if discussion.author != mine:
            continue
        proposed = read_head(
            head.repo_id,
            repo_type=head.repo_type,
            revision=f"refs/pr/{discussion.num}",
            api=api,
        )
        if not any(proposed.changed_by(operation) for operation in operations):
            return discussion.url
    return None


def _forbidden(error: HfHubHTTPError) -> bool:
    return error.response.status_code == 403 and not isinstance(error, GatedRepoError)


def _refusal(repo_id: str, error: HfHubHTTPError, create_pr: bool) -> KoSentError:
    reason = (error.server_message or "HTTP 403").strip().rstrip(".")
    way = "" if create_pr else "run the same command with --create-pr to propose it instead, or "
    return KoSentError(
        repo_id,
        f"your token may not write to this repo ({reason})",
        f"{way}use a token with write permission for it",
    )


def writer(repo_id: str) -> dict[str, Any]:
    """The user of the token, as `whoami` says; raises KoSentError for a token that only reads."""
    user = HfApi().whoami()
    if user["auth"].get("accessToken", {}).get("role") == "read":
        raise KoSentError(
            repo_id, "your token may only read", "make one that may write, then `hf auth login`"
        )
    return user
