"""`kosent-data push`: a dataset folder -> a dataset repo, in one commit."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from model_card.commit import Head, Operation, commit

from . import card, folder, plots
from .errors import KoSentError
from .sources import sha256


def push(
    dataset: Path,
    repo_id: str,
    *,
    public: bool = False,
    create_pr: bool = False,
    api: HfApi | None = None,
) -> str:
    """URL of the commit, or of the pull request, that holds the dataset.

    The repo is made private, and an existing one must be private, unless `public`. Parts of
    splits that are not in the folder go; the card keeps what people wrote.

    Raises:
        KoSentError: a folder that is not as it was built, or a repo that may not be written.
    """
    report = folder.read_report(dataset)
    files = {one["file"]: one["sha256"] for one in report["outputs"]}
    for file, expected in files.items():
        if file != folder.README and sha256(dataset / file) != expected:
            raise KoSentError(f"{dataset / file}: changed since it was built; build it again")
    local = (dataset / folder.README).read_text(encoding="utf-8")
    plot = plots.emotions(report)

    def build(head: Head) -> list[Operation]:
        there = head.read(folder.README)
        readme = card.render(
            report,
            existing=there.decode("utf-8", "replace") if there else local,
            repo_id=repo_id,
            plot=card.PLOT,
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

    return commit(
        repo_id,
        build,
        message="Upload dataset with kosent-data",
        repo_type="dataset",
        private=not public,
        create_pr=create_pr,
        api=api,
    )
