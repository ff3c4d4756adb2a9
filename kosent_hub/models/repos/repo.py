"""Which repo, at which commit: a Hub id or a local folder."""

from __future__ import annotations

from pathlib import Path

from kosent_hub.models.repos import untrusted
from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id
from model_card.records import Repo


def is_gguf(model_id: str) -> bool:
    """Whether the model is a GGUF file of this machine."""
    return model_id.endswith(".gguf") and Path(model_id).is_file()


def resolve(repo_id_or_path: str, revision: str | None = None, repo_type: str = "model") -> Repo:
    """The repo and its commit now, or the name of the local folder or GGUF file, and no revision.

    A relative folder that reads like a Hub id (`ORG/NAME`) keeps that id; no absolute path ever
    gets into a record. Raises KoSentError when it is neither a folder nor a possible Hub id, or
    holds what `untrusted.check_files` refuses, and huggingface_hub's errors when the Hub refuses.
    """
    path = Path(repo_id_or_path)
    if path.is_dir():
        untrusted.check_folder(path)
        name = repo_id_or_path.rstrip("/")
        return Repo(name if is_hub_id(name) else path.resolve().name, None, local=True)
    if is_gguf(repo_id_or_path):
        return Repo(path.name, None, local=True)

    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id_or_path)
    except HFValidationError:
        raise KoSentError(
            repo_id_or_path, "no such folder, and not a Hub id (ORG/NAME)", "check the spelling"
        ) from None
    if constants.is_offline_mode():
        return Repo(repo_id_or_path, cached_commit(repo_id_or_path, revision, repo_type).name)
    found = HfApi().repo_info(
        repo_id_or_path, repo_type=repo_type, revision=revision, files_metadata=True
    )
    files = {file.rfilename: file.size for file in getattr(found, "siblings", None) or []}
    untrusted.check_files(repo_id_or_path, files)
    return Repo(repo_id_or_path, found.sha)


def cached_commit(repo_id: str, revision: str | None, repo_type: str = "model") -> Path:
    """The folder of the cached snapshot that an offline run will read, named by its commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo_id,
            revision=revision,
            repo_type=repo_type,
            local_files_only=True,
            allow_patterns=[],  # whichever files are there
        )
    except LocalEntryNotFoundError:
        raise KoSentError(
            repo_id,
            "HF_HUB_OFFLINE=1 is set and the cache does not hold it",
            "unset it once, or name a local folder",
        ) from None
    return Path(found)
