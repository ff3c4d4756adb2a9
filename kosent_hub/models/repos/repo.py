"""Which repo, at which commit: a Hub id or a local folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from kosent_hub.models.repos import untrusted
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
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
    if found.sha is not None and found.sha != revision:
        _note_commit(repo_id_or_path, revision, repo_type, found.sha)
    return Repo(repo_id_or_path, found.sha)


def _note_commit(repo_id: str, revision: str | None, repo_type: str, commit: str) -> None:
    """Let the cache know the commit of a branch, where an offline run looks it up: a download by
    commit, as all of ours are, does not write it there.

    Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache#refs
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cached = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type=repo_type)
    ref = cached / "refs" / (revision or constants.DEFAULT_REVISION)
    with suppress(OSError, KoSentError):  # a cache that is full or may only be read
        if not ref.is_file() or ref.read_text("utf-8") != commit:
            atomic_write(ref, commit.encode())


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
