"""What was exported -> a repo of its own on the Hub, with a card, in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from kosent_hub.models.repos.adapter_files import ADAPTER_CONFIG
from kosent_hub.training.push import files_in
from model_card.licenses import NO_DERIVATIVES, known_license, plain, terms
from model_card.publish import BaseRepo, publish
from model_card.publishing.errors import KoSentError
from model_card.records import LOG_HISTORY_PATH, RUN_PATH, Results, Run, dumps, eval_path


def check_repo(run: Run, repo_id: str, *, gguf: bool) -> None:
    """Raise KoSentError for a repo that holds a model in other files, and for one that the base's
    licence does not allow by that name, or at all."""
    base = run.base_model
    license_id = known_license(base.id) or BaseRepo(HfApi()).license(
        base.id, None if base.local else base.revision
    )
    if license_id in NO_DERIVATIVES:
        raise KoSentError(
            base.id,
            f"its licence {license_id} forbids to pass on what is made from it",
            "leave --repo-id out",
        )
    asked = terms(license_id, base.id)
    if asked is not None and not asked.allow_name(repo_id):
        owner, name = repo_id.split("/")
        raise KoSentError(
            f"--repo-id {repo_id}",
            f"the name of a model made from {asked.family} must begin with “{asked.prefix}”",
            f"call it {owner}/{plain(asked.prefix)}-{name}",
        )
    other = _other_model(repo_id, gguf=gguf)
    if other is not None:
        raise KoSentError(
            f"--repo-id {repo_id}",
            f"that repo holds {other}, and its card is about that",
            "give the export a repo of its own",
        )


def _other_model(repo_id: str, *, gguf: bool) -> str | None:
    """A file by which a repo is an adapter's, or that of another kind of export; None without."""
    try:
        names = HfApi().list_repo_files(repo_id)
    except RepositoryNotFoundError:
        return None
    others = (".safetensors", ADAPTER_CONFIG) if gguf else (".gguf", ADAPTER_CONFIG)
    return next((name for name in names if name.endswith(others)), None)


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
