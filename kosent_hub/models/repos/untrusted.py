"""Checks on a model repo before any library parses it: file sizes, paths, adapter settings.

A repo's author writes its JSON, its templates and its weights, and may do so to harm whoever loads
them. Defended against, each with a refusal in one line:

- code: Python of the repo's own and pickled weights (`explained`, and `use_safetensors` and
  `trust_remote_code` where load.py and tokenizer.py load), adapter settings that import modules or
  read files (`base_of`);
- paths out of the repo, and a base model that is a folder of this machine (`check_files`,
  `base_of`);
- files, models and ranks too large for the memory, and patterns that take for ever to match
  (`check_files`, `check_size`, `base_of`);
- chat templates that do not end or write without end (template_limits.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id

MIB = 1 << 20
# The files that are parsed, and the largest size of each kind in bytes. The largest tokenizers in
# use have some 40 MiB, the largest configs one.
SETTINGS = re.compile(
    r"((adapter_|generation_|tokenizer_|processor_|preprocessor_)?config|chat_template"
    r"|special_tokens_map|added_tokens|modules|.*\.safetensors\.index)\.json|README\.md"
)
VOCABULARY = re.compile(r"tokenizer\.(json|model)|vocab\.(json|txt)|merges\.txt")
TEMPLATE = re.compile(r"(additional_chat_templates/)?[^/]*\.jinja")
WEIGHTS = re.compile(r"(adapter_)?model(-\d+-of-\d+)?\.safetensors")
MAX_SIZES = {SETTINGS: 16 * MIB, VOCABULARY: 128 * MIB, TEMPLATE: MIB}

MAX_LAYERS, MAX_RANK = 1000, 4096
# What a LoRA adapter's config may set: sizes and places of the matrices. Every other setting of
# peft (covariances from a file, modules to import, layers to copy, ...) must be at its default.
ADAPTER_SETTINGS = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "lora_alpha", "lora_bias", "lora_dropout", "modules_to_save",
    "peft_type", "peft_version", "r", "rank_pattern", "revision", "target_modules",
    "target_parameters", "task_type", "trainable_token_indices", "use_dora", "use_rslora",
})  # fmt: skip
_LFS = b"version https://git-lfs.github.com/spec/"
INITIALISED = (None, True, False, "gaussian", "orthogonal", "olora", "pissa")


@contextmanager
def explained(model_id: str, trusted: bool = False) -> Iterator[None]:
    """Raise a library's error about a repo as a KoSentError; the Hub's own errors pass.

    `trusted`: code of the repo's own is allowed.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (KoSentError, HfHubHTTPError):
        raise
    except Exception as error:
        if isinstance(error.__cause__, KoSentError | HfHubHTTPError):
            raise error.__cause__ from None
        reason = " ".join(str(error).split()) or type(error).__name__
        shard = re.search(r"[\w.-]+-of-\d+\.safetensors", reason)
        if "ignore_mismatched_sizes" in reason:
            why = (
                "its weights have other shapes than its config.json says, as quantised weights do "
                "where quantization_config is missing there; take the model's files from one place"
            )
        elif shard:
            why = f"has no {shard[0]}, which its index names; copy or upload it whole"
        elif trusted and "safetensors" not in reason:
            why = (
                f"cannot be loaded, though its own code is allowed ({reason[:300]}); leave "
                "--trust-remote-code out if transformers has a class for it, else take a base that "
                "was converted to one"
            )
        elif "trust_remote_code" in reason:
            why = (
                "needs Python code of its own to load; "
                "read that code, then allow it with --trust-remote-code"
            )
        elif "safetensors" in reason:
            why = (
                "has no safetensors weights, and pickled ones can run anything; "
                "ask its author for safetensors, or convert it"
            )
        else:
            why = f"cannot be loaded ({reason[:300]})"
        raise KoSentError(model_id, why) from error


def check_files(repo: str, sizes: Mapping[str, int | None]) -> None:
    """Raise KoSentError for a file outside of the repo, or one too large to be parsed.

    `sizes` are bytes by path, None where the Hub does not say.
    """
    for path, size in sizes.items():
        if "\\" in path or path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise KoSentError(
                repo, f"lists the file {path!r}, outside of the repo", "do not use it"
            )
        for kind, largest in MAX_SIZES.items():
            if kind.fullmatch(path) and size is not None and size > largest:
                raise KoSentError(
                    f"{repo}/{path}",
                    f"{size // MIB:,} MiB, and no model's has over {largest // MIB}",
                    "do not use this repo",
                )


def check_folder(folder: Path) -> None:
    """Raise KoSentError as `check_files` does, for a model folder on this machine, and for one that
    lacks files or has pointers in their place."""
    files = [path for path in folder.iterdir() if path.is_file()]
    check_files(str(folder), {path.name: path.stat().st_size for path in files})
    _check_whole(folder, [path for path in files if _is_read(path.name)])


def _is_read(name: str) -> bool:
    return any(kind.fullmatch(name) for kind in (WEIGHTS, *MAX_SIZES))


def _check_whole(folder: Path, files: Iterable[Path]) -> None:
    """Raise KoSentError for a file that Git LFS has not brought, and for missing shards."""
    for path in files:
        if is_lfs_pointer(path):
            raise KoSentError(
                path,
                "a Git LFS pointer, not the file itself",
                f"run git lfs pull in {folder}, or fetch the model with hf download",
            )
    index = folder / "model.safetensors.index.json"
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return
    names = read_settings(index, str(index)).get("weight_map")
    wanted = sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise KoSentError(
            folder,
            f"{len(missing)} of its {len(wanted)} files of weights are not there "
            f"({', '.join(missing[:3])}{', ...' if missing[3:] else ''})",
            "copy or download it whole",
        )


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is what Git LFS leaves in place of a file that was not downloaded.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    """
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def read_settings(path: Path, where: str) -> dict[str, Any]:
    """The JSON object in a file; raises KoSentError if there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise KoSentError(where, f"not JSON ({error})", "save the model again") from None
    if not isinstance(found, dict):
        raise KoSentError(where, "holds no settings", "save the model again")
    return found


def base_of(adapter: str, settings: Mapping[str, Any], *, local: bool) -> tuple[str, str | None]:
    """The base that an adapter's config names, and its revision.

    Raises KoSentError for settings beyond those of a LoRA adapter, and for a repo on the Hub (not
    `local`) that names a folder as its base.
    """
    where = f"{adapter}/adapter_config.json"
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(base, str) or not base:
        raise KoSentError(where, "names no base model", "set base_model_name_or_path")
    if not isinstance(revision, str | None):
        raise KoSentError(where, f"revision is {revision!r}, no commit", "fix it")
    if not local and not is_hub_id(base, owner_optional=True):
        raise KoSentError(
            where,
            f"names the base model {base!r}, which is no Hub id",
            "its author must put the base's Hub id there",
        )
    for name, value in settings.items():
        if not _harmless(name, value):
            raise KoSentError(
                where,
                f"{name} is {str(value)[:100]!r}, which is more than a LoRA adapter for chat needs",
                "save it again with a plain LoraConfig",
            )
    return base, revision or None


def _harmless(name: str, value: Any) -> bool:
    """Whether the setting makes peft do no more than add LoRA matrices."""
    from peft import LoraConfig

    if name == "peft_type":
        return value == "LORA"
    if name == "task_type":
        return value in (None, "CAUSAL_LM")
    if name == "r":
        return _rank(value)
    if name == "init_lora_weights":
        return value in INITIALISED
    if name in ("rank_pattern", "alpha_pattern"):
        patterns = value or {}
        return (
            isinstance(patterns, dict) and _quick(patterns) and all(map(_rank, patterns.values()))
        )
    if name in ("target_modules", "exclude_modules", "layers_pattern"):
        return _quick([value] if isinstance(value, str) else value or [])
    if name in ADAPTER_SETTINGS:
        return True
    # peft ignores a setting that it does not know.
    defaults = LoraConfig().to_dict()
    return name not in defaults or not value or value == defaults[name]


def _rank(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value <= MAX_RANK


def _quick(patterns: Any) -> bool:
    """Whether these are regular expressions that are matched quickly, whatever the name."""
    if not isinstance(patterns, Iterable):
        return False
    return all(
        isinstance(pattern, str)
        and len(pattern) < 2000
        and not re.search(r"\)[*+{]", pattern)
        and len(re.findall(r"[*+{]", pattern)) <= 8
        and len(re.findall(r"(?<!\()\?", pattern)) <= 16
        for pattern in patterns
    )


def check_size(model: str, config: Any, bytes_each: float, memory: float) -> None:
    """Raise KoSentError for a config whose model is larger than this machine's memory.

    Libraries allocate what the config asks for before they read the weights. `bytes_each` is a
    weight's size, `memory` that of main memory and GPUs together, in bytes.
    """
    text = config.get_text_config()
    layers, hidden, words = (
        getattr(text, name, None) for name in ("num_hidden_layers", "hidden_size", "vocab_size")
    )
    if not all(isinstance(value, int | None) for value in (layers, hidden, words)):
        raise KoSentError(model, "cannot be loaded (its config.json has no sizes)", "do not use it")
    layers, hidden, words = layers or 0, hidden or 0, words or 0
    # A lower bound: the embeddings, and one square matrix a layer.
    least = (words * hidden + layers * hidden * hidden) * bytes_each
    if layers > MAX_LAYERS or least > memory:
        raise KoSentError(
            model,
            f"a model of {layers:,} layers, at least {least / 2**30:,.0f} GiB, and here "
            f"are {memory / 2**30:,.0f}",
            "run it on a larger machine, or behind --endpoint",
        )
