"""A folder with a base and its adapter merged into it: whole under its name, or not there.

It is written beside that name and renamed. What a full disk or a kill leaves there is gone on with
by the next command of the same model: the files of weights that are whole are not written again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import PreTrainedModel

from kosent_hub.models.locate import Located
from kosent_hub.models.machine import device
from kosent_hub.models.repos.adapter_files import ADAPTER_WEIGHTS, cached
from kosent_hub.models.repos.untrusted import check_size
from kosent_hub.models.weights.attach import attach
from kosent_hub.models.weights.load import load_causal_model, quantization
from kosent_hub.models.weights.merge import Change, change, effect, merge, next_logits
from kosent_hub.models.weights.probes import probe_prompts
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write, exclusive, explain_full_disk

# Bytes of a file of weights, which memory holds beside the model.
SHARD = 2 * 10**9
PROMPTS = 10
# In a folder that is not whole: what it is being made from.
_NOTE = ".kosent-merge.json"
# The base's files that stand beside the weights as they are.
_BASE_FILES = ("generation_config.json", "tokenizer.model")


@dataclass(frozen=True)
class Merged:
    """A merged model: its folder, number format, files of weights, and what merging changed."""

    folder: Path
    dtype: str
    shards: int
    change: Change


def write_merged(
    located: Located,
    folder: Path,
    fill: Callable[[Path], None],
    *,
    overwrite: bool = False,
    shard_size: int = SHARD,
) -> Merged:
    """The located adapter's base with the adapter in its weights, written to `folder`.

    In the number format of the base's weights, or in float32 where that would round the adapter
    away. `fill` puts into the folder, which has the weights then, what stands beside them. Raises
    KoSentError for a folder that is there (see `refuse_existing`), for a base that is stored
    quantised, and for an adapter that cannot be merged; a full disk leaves what is written beside
    `folder`, under a name with a dot.
    """
    _refuse_quantized(located)
    draft = folder.with_name(f".{folder.name}.partial")
    with exclusive(folder, "kosent-export"), explain_full_disk(folder):
        refuse_existing(folder, overwrite=overwrite)
        model, changed = _merged(located)
        dtype = _name(model.dtype)
        _claim(draft, located, dtype, shard_size)
        shards = _write_weights(model, draft, shard_size)
        _write_settings(model, located, draft)
        del model
        fill(draft)
        (draft / _NOTE).unlink()
        _put(draft, folder)
    return Merged(folder, dtype, shards, changed)


def refuse_existing(folder: Path, *, overwrite: bool) -> None:
    """Raise KoSentError for a folder that is there and not empty, but for a model's that may be
    overwritten."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "config.json").is_file():
        raise KoSentError(folder, "exists and is no model's folder", "name another one")
    if not overwrite:
        raise KoSentError(folder, "already exists", "name another folder, or add --overwrite")
    if (folder / "adapter_config.json").exists():
        raise KoSentError(folder, "holds an adapter, which is not replaced", "name another folder")


def _refuse_quantized(located: Located) -> None:
    stored = getattr(located.config, "quantization_config", None)
    if stored is None:
        return
    raise KoSentError(
        located.base_id,
        "its weights are stored quantised, and an adapter merged into those is rounded with them",
        "export the adapter alone, or train one on the base's own weights (a base that is "
        "quantised while it trains, as with --load_in_4bit, is stored whole)",
    )


def _claim(draft: Path, located: Located, dtype: str, shard_size: int) -> None:
    """The folder to write in: that of an earlier command if it was for the same, else a new one."""
    facts = {
        "base": [located.base_id, located.base.revision],
        "adapter": _adapter_sha256(located),
        "identity": located.identity,
        "dtype": dtype,
        "shard_size": shard_size,
        "torch": torch.__version__,
    }
    note = json.dumps(facts, indent=2, sort_keys=True, default=list).encode()
    if (draft / _NOTE).is_file() and (draft / _NOTE).read_bytes() == note:
        print(f"going on with {draft}", file=sys.stderr)
        return
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    atomic_write(draft / _NOTE, note)


def _adapter_sha256(located: Located) -> str:
    path = cached(located.model_id, ADAPTER_WEIGHTS, located.repo.revision)
    assert path is not None  # `locate` refuses an adapter without weights
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _merged(located: Located) -> tuple[PreTrainedModel, Change]:
    """The merged model in the base's number format, or in float32 where it has to be."""
    stored = _name(getattr(located.config, "dtype", None) or torch.float32)
    model, changed = _merged_in(located, stored)
    if stored != "float32" and not changed.is_small:
        print(
            f"{located.model_id}: in {stored}, the base's own number format, merging would round "
            f"the adapter away (logits change by {changed.mean:.2g} on average, and the adapter "
            f"changes them by {changed.adapter_mean:.2g}): written in float32",
            file=sys.stderr,
        )
        del model
        model, changed = _merged_in(located, "float32")
    return model, changed


def _merged_in(located: Located, dtype: str) -> tuple[PreTrainedModel, Change]:
    check_size(located.base_id, located.config, getattr(torch, dtype).itemsize, device.memory())
    base = load_causal_model(located.base_id, located.base.revision, dtype).eval()
    assert quantization(base) is None
    # Computed in float32, what is seen is the rounding of weights alone, and not that of each step.
    wide = dtype != "float32" and 5 * base.num_parameters() < device.free_memory()
    if wide:
        _cast(base, torch.float32)
    attached = attach(base, located)
    for note in attached.notes:
        print(f"{located.model_id}: {note}", file=sys.stderr)
    adapted, prompts = attached.model, probe_prompts(located.form, PROMPTS)
    active, bare = effect(adapted, located.model_id, lambda model: next_logits(model, prompts))
    try:
        model = merge(adapted)
    except (NotImplementedError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise KoSentError(
            located.model_id, f"its adapter cannot be merged ({why[:300]})", "use it as it is"
        ) from error
    if not wide:
        return model, change(next_logits(model, prompts), active, bare)
    _cast(model, getattr(torch, dtype))
    _cast(model, torch.float32)
    changed = change(next_logits(model, prompts), active, bare)
    _cast(model, getattr(torch, dtype))
    return model, changed


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Give the weights another number format, one after the other, and leave the buffers."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)


def _write_weights(model: PreTrainedModel, folder: Path, shard_size: int) -> int:
    """How many files of weights the folder holds now; one that is there already is kept."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    # As transformers' `save_pretrained` does it, under the names of the base's own files.
    state: dict[str, torch.Tensor] = model.state_dict()
    for name in getattr(model, "_keys_to_ignore_on_save", None) or ():
        state.pop(name, None)
    state = remove_tied_weights_from_state_dict(state, model)
    state = revert_weight_conversion(model, state)
    plan = split_torch_state_dict_into_shards(
        state, filename_pattern="model{suffix}.safetensors", max_shard_size=shard_size
    )
    todo = {n: names for n, names in plan.filename_to_tensors.items() if not (folder / n).exists()}
    for name, tensors in tqdm(todo.items(), "weights", disable=None, file=sys.stderr):
        _write_shard({key: state[key] for key in tensors}, folder / name)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        atomic_write(folder / "model.safetensors.index.json", text.encode())
    return len(plan.filename_to_tensors)


def _write_shard(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write one file of weights, which has its name only once it is whole."""
    part = path.with_name(f".{path.name}")
    try:
        save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata={"format": "pt"})
        part.chmod(0o644)  # safetensors makes it for its owner alone
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_settings(model: PreTrainedModel, located: Located, folder: Path) -> None:
    """Write the config, without the place on this machine that the base was read from, and the
    base's files that go along."""
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=True))
    config |= {"dtype": _name(model.dtype), "architectures": [type(model).__name__]}
    config.pop("_name_or_path", None)
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    atomic_write(folder / "config.json", text.encode())
    for name in _BASE_FILES:
        path = cached(located.base_id, name, located.base.revision)
        if path is not None:
            atomic_write(folder / name, path.read_bytes())


def _put(draft: Path, folder: Path) -> None:
    """Give the draft its name; an earlier folder of that name is removed after that."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
