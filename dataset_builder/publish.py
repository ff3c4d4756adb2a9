"""`push`: a dataset folder -> a dataset repo, in one commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from model_card.publishing import session
from model_card.publishing.commit import Head, Operation, commit
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text

from . import card, folder
from .provenance import AIHUB
from .sources import sha256

MESSAGE = "Upload dataset with kosent-data"
ABROAD = (
    "the Hub's servers are abroad, where AI Hub lets its data be stored only by an agreement of "
    "its own, in a private repo too: make one with AI Hub, or delete the repo"
)


def push(
    dataset: str | Path,
    repo_id: str,
    *,
    public: bool = False,
    i_hold_redistribution_rights: bool = False,
    create_pr: bool = False,
    api: HfApi | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Push a dataset folder; returns the URL of the commit, or of the pull request.

    A new repo is private, and an existing one must be, unless `public`. Files of splits that the
    folder does not have are deleted from the repo; its card keeps what people wrote.

    Raises:
        KoSentError: `public` without the rights, a folder that is not as it was built, or a repo
            that may not be written.
    """
    if public and not i_hold_redistribution_rights:
        raise KoSentError(
            "--public",
            "AI Hub's data, edited or not, must not reach unapproved third parties",
            "leave --public out, or add --i-hold-redistribution-rights if you do",
        )
    session.install()
    dataset = Path(dataset)
    report = folder.read_report(dataset)
    files = _checked(dataset, report)
    local = dataset / folder.README
    edited = sha256(local) != files.pop(folder.README)
    plot = card.emotions_plot(report)

    def build(head: Head) -> list[Operation]:
        there = head.read(folder.README)
        if there is not None and edited:
            progress(f"{local}: your changes stay here, the repo has a README; edit that one")
        where = local if there is None else f"{repo_id}/{folder.README}"
        text = decode_text(local.read_bytes() if there is None else there, where)
        readme = card.render(
            report, existing=text, repo_id=repo_id, plot=card.PLOT, gated=head.gated
        )
        contents: dict[str, str | bytes] = {file: str(dataset / file) for file in files}
        contents |= {
            folder.README: readme.encode(),
            folder.REPORT: str(dataset / folder.REPORT),
            card.PLOT: plot,
        }
        stale = [
            path
            for path in head.paths()
            if path.startswith(f"{folder.DATA}/") and path not in contents
        ]
        return [
            *(CommitOperationAdd(path, content) for path, content in contents.items()),
            *(CommitOperationDelete(path) for path in stale),
        ]

    pushed = commit(
        repo_id,
        build,
        message=MESSAGE,
        repo_type="dataset",
        private=not public,
        create_pr=create_pr,
        api=api,
    )
    if report["corpus"] == AIHUB:
        progress(ABROAD)
    return pushed


def _checked(dataset: Path, report: dict[str, Any]) -> dict[str, str]:
    """File -> SHA-256 as built; raises KoSentError if a file was changed, added or removed."""
    files = {one["file"]: one["sha256"] for one in report["outputs"]}
    there = {path.relative_to(dataset).as_posix() for path in dataset.glob(f"{folder.DATA}/*")}
    for file in sorted(there | (files.keys() - {folder.README})):
        if file not in files or sha256(dataset / file) != files[file]:
            raise KoSentError(dataset / file, "not as kosent-data built it", "build it again")
    return files
