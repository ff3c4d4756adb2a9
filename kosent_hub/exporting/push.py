"""What was exported -> a repo of its own on the Hub, with a card, in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosent_hub.training.push import files_in
from model_card.licenses import NO_DERIVATIVES, known_license, terms
from model_card.publish import publish
from model_card.publishing.errors import KoSentError
from model_card.records import LOG_HISTORY_PATH, RUN_PATH, Results, Run, dumps, eval_path


def check_repo(run: Run, repo_id: str) -> None:
    """Raise KoSentError for a repo that the base's licence does not allow by that name, or at all,
    and for a base that is only a folder of this machine."""
    license_id = known_license(run.base_model.id)
    if license_id in NO_DERIVATIVES:
        raise KoSentError(
            run.base_model.id,
            f"its licence {license_id} forbids to pass on what is made from it",
            "leave --repo-id out",
        )
    asked = terms(license_id)
    name = repo_id.split("/")[-1]
    if asked is not None and not name.startswith(asked.prefix):
        raise KoSentError(
            f"--repo-id {repo_id}",
            f"the name of a model made from {asked.family} must begin with “{asked.prefix}”",
            f"call it {repo_id.split('/')[0]}/{asked.prefix}-{name}",
        )


def push_merged(folder: Path, repo_id: str, *, private: bool) -> str:
    """URL of the commit with a merged folder, its records and its card."""
    return publish(repo_id, files_in(folder), message="Export with KoSent Hub", private=private)


def push_gguf(
    file: Path, run: Path, repo_id: str, scores: Sequence[Results], *, private: bool
) -> str:
    """URL of the commit with a GGUF file, its training's records, its own scores and a card."""
    files: dict[str, Path | bytes] = {file.name: file}
    files |= {p: run / p for p in (RUN_PATH, LOG_HISTORY_PATH) if (run / p).is_file()}
    files |= {eval_path(found): dumps(found).encode() for found in scores}
    return publish(repo_id, files, message="Export with KoSent Hub", private=private)
