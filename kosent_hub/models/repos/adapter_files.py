"""What a repo has of an adapter: its weights, the base that it names, and models in its folders."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from transformers.utils import cached_file

from kosent_hub.models.repos.repo import cached_commit, resolve
from kosent_hub.models.repos.untrusted import base_of, read_settings
from model_card.publishing.errors import HubUnavailable, KoSentError, user_error
from model_card.publishing.hub_ids import is_hub_id
from model_card.records import Repo

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_SHARDS = "adapter_model.safetensors.index.json"
_MODEL_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_JOIN = (
    "from glob import glob; from safetensors.torch import load_file, save_file; save_file({k: v "
    "for f in glob('adapter_model-*.safetensors') for k, v in load_file(f).items()}, "
    f"'{ADAPTER_WEIGHTS}')"
)


def cached(model_id: str, name: str, revision: str | None) -> Path | None:
    """The file's path on this machine, downloaded if need be; None if the repo has none."""
    found = cached_file(
        model_id,
        name,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def lora_settings(model_id: str, revision: str | None) -> dict[str, Any]:
    """The shape of a LoRA adapter, by the names of the settings that would make one like it."""
    path = cached(model_id, ADAPTER_CONFIG, revision)
    known = {} if path is None else read_settings(path, f"{model_id}/{ADAPTER_CONFIG}")
    names = {
        "lora_r": "r",
        "lora_alpha": "lora_alpha",
        "lora_dropout": "lora_dropout",
        "lora_target_modules": "target_modules",
        "use_rslora": "use_rslora",
        "use_dora": "use_dora",
    }
    return {name: known[key] for name, key in names.items() if known.get(key) is not None}


def named_base(model_id: str, settings: dict[str, Any], repo: Repo) -> tuple[str, Repo]:
    """The base that the adapter's config names: its id, and its repo and commit.

    Raises KoSentError for one that cannot be found or is an adapter itself.
    """
    where = f"{model_id}/{ADAPTER_CONFIG}"
    base_id, revision = base_of(model_id, settings, local=repo.local)
    try:
        base = resolve(base_id, revision)
    except Exception as error:
        known = user_error(error)
        if known is None or isinstance(known, HubUnavailable):
            raise
        remedy = known.remedy
        if not is_hub_id(base_id, owner_optional=True):
            remedy = "write the base's Hub id, or its folder here, as base_model_name_or_path there"
        raise KoSentError(where, f"names the base model {base_id}: {known.what}", remedy) from None
    refuse_adapter(base_id, base, where)
    return base_id, base


def refuse_adapter(model_id: str, repo: Repo, where: str | None = None) -> None:
    """Raise KoSentError if the model is an adapter, and so no base; `where` is a file that names it
    as one."""
    settings = cached(model_id, ADAPTER_CONFIG, repo.revision)
    if settings is None:
        return
    base = read_settings(settings, f"{model_id}/{ADAPTER_CONFIG}").get("base_model_name_or_path")
    merge = "peft's merge_and_unload, then save_pretrained into a folder of its own"
    if where is None:
        raise KoSentError(
            model_id,
            "an adapter, not a base model",
            f"name its base ({base}), or merge it: {merge}",
        )
    raise KoSentError(
        where,
        f"the base that it names, {model_id}, is itself an adapter of {base}",
        f"merge that one first ({merge}), and name that folder there",
    )


def refuse_unusable_weights(model_id: str, repo: Repo) -> None:
    """Raise KoSentError unless the adapter's weights are in one file of safetensors."""
    if cached(model_id, ADAPTER_WEIGHTS, repo.revision) is not None:
        return
    files = files_of(model_id, repo.revision)
    if _SHARDS in files:
        raise KoSentError(
            model_id,
            "the adapter's weights are in several files, which peft does not read",
            f'join them there: python -c "{_JOIN}"',
        )
    if _PICKLED in files:
        raise KoSentError(
            model_id,
            f"has no {ADAPTER_WEIGHTS}, and pickled weights can run anything",
            "save the adapter again with a current peft",
        )
    if any(name in files for name in _MODEL_WEIGHTS):
        raise KoSentError(
            model_id,
            f"a whole model beside an {ADAPTER_CONFIG} that belongs to no weights there",
            f"remove that {ADAPTER_CONFIG}, or copy it without",
        )
    raise KoSentError(
        model_id,
        f"has an {ADAPTER_CONFIG}, but no {ADAPTER_WEIGHTS}",
        "copy or upload the adapter whole",
    )


def refuse_empty(model_id: str, repo: Repo) -> None:
    """Raise KoSentError for a repo with neither a model nor an adapter at its top, naming the
    folders in it that have one."""
    if any(cached(model_id, name, repo.revision) for name in (ADAPTER_CONFIG, "config.json")):
        return
    inside = {
        str(path.parent)
        for path in map(PurePosixPath, files_of(model_id, repo.revision))
        if path.name in (ADAPTER_CONFIG, "config.json") and len(path.parts) > 1
    }
    if not inside:
        raise KoSentError(
            model_id, f"has no config.json and no {ADAPTER_CONFIG}", "name a model's own folder"
        )
    # checkpoint-16 after checkpoint-8
    folders = sorted(inside, key=lambda name: ([int(n) for n in re.findall(r"\d+", name)], name))
    last = folders[-1]
    remedy = f"name {model_id.rstrip('/')}/{last}"
    if not repo.local:
        remedy = (
            f"hf download {model_id} --include '{last}/*' --local-dir DIR, then name DIR/{last}"
        )
    raise KoSentError(model_id, f"its model is not at its top, but in {', '.join(folders)}", remedy)


def files_of(model_id: str, revision: str | None) -> list[str]:
    """The paths of the files in the repo; of a folder, those at its top and settings below.

    Offline, those in the cache.
    """
    top = Path(model_id)
    if top.is_dir():
        found = [path for pattern in ("*", "*/*.json", "*/*/*.json") for path in top.glob(pattern)]
        return [path.relative_to(top).as_posix() for path in found]
    from huggingface_hub import HfApi
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        top = cached_commit(model_id, revision)
        return [path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()]
    info = HfApi().model_info(model_id, revision=revision)
    return [file.rfilename for file in info.siblings or []]
