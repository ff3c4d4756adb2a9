"""What somebody else's model repo may be before a library reads it: sizes, names, settings.

Libraries parse a repo's JSON, follow the names in it and build what its settings say. All of that
is its author's. So it is looked at first, from the Hub's list of files and from the settings
themselves, and what no model needs is refused in a line.
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
# The files that are parsed, by name, and how large any that is in use may be. The largest
# tokenizers have some 40 MiB, the largest configs one.
SETTINGS = re.compile(
    r"((adapter_|generation_|tokenizer_|processor_|preprocessor_)?config|chat_template"
    r"|special_tokens_map|added_tokens|modules|.*\.safetensors\.index)\.json|README\.md"
)
VOCABULARY = re.compile(r"tokenizer\.(json|model)|vocab\.(json|txt)|merges\.txt")
TEMPLATE = re.compile(r"(additional_chat_templates/)?[^/]*\.jinja")
LARGEST = {SETTINGS: 16 * MIB, VOCABULARY: 128 * MIB, TEMPLATE: MIB}

MOST_LAYERS, HIGHEST_RANK = 1000, 4096
# What a LoRA adapter's config may set: how large the matrices are and where they go. Whatever else
# peft knows (covariances from a file, modules to import, layers to copy, ...) stays at its default.
ADAPTER_SETTINGS = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "lora_alpha", "lora_bias", "lora_dropout", "modules_to_save",
    "peft_type", "peft_version", "r", "rank_pattern", "revision", "target_modules",
    "target_parameters", "task_type", "trainable_token_indices", "use_dora", "use_rslora",
})  # fmt: skip
INITIALISED = (None, True, False, "gaussian", "orthogonal", "olora", "pissa")


@contextmanager
def explained(model_id: str) -> Iterator[None]:
    """Raise whatever a library makes of a repo as one line that the user can act on."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (KoSentError, HfHubHTTPError):
        raise
    except Exception as error:
        if isinstance(error.__cause__, KoSentError | HfHubHTTPError):
            raise error.__cause__ from None
        said = " ".join(str(error).split()) or type(error).__name__
        if "trust_remote_code" in said:
            why = (
                "needs Python code of its own to load; "
                "read that code, then allow it with --trust-remote-code"
            )
        elif "safetensors" in said:
            why = (
                "has no safetensors weights, and pickled ones can run anything; "
                "ask its author for safetensors, or convert it"
            )
        else:
            why = f"cannot be loaded ({said[:300]})"
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
        for kind, largest in LARGEST.items():
            if kind.fullmatch(path) and size is not None and size > largest:
                raise KoSentError(
                    f"{repo}/{path}",
                    f"{size // MIB:,} MiB, and no model's has over {largest // MIB}",
                    "do not use this repo",
                )


def check_folder(folder: Path) -> None:
    """The same for a model folder on this machine."""
    files = [path for path in folder.iterdir() if path.is_file()]
    check_files(str(folder), {path.name: path.stat().st_size for path in files})


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

    Raises KoSentError for a config that peft would do more with than put LoRA matrices beside
    layers, and for one from the Hub (not `local`) that names a folder.
    """
    where = f"{adapter}/adapter_config.json"
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(base, str) or not base:
        raise KoSentError(where, "names no base model", "set base_model_name_or_path")
    if not isinstance(revision, str | None):
        raise KoSentError(where, f"revision is {revision!r}, no commit", "mend it")
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
    """Whether peft, given this setting, does no more than it must."""
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
    # A setting that this peft does not know is one that it passes over.
    defaults = LoraConfig().to_dict()
    return name not in defaults or not value or value == defaults[name]


def _rank(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value <= HIGHEST_RANK


def _quick(patterns: Any) -> bool:
    """Whether names can be matched with these regular expressions in bearable time."""
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
    """Raise KoSentError for a model that this machine cannot hold, whatever its files have.

    Libraries make what the config asks for before they see that the weights are not there.
    `memory` is in bytes, main and the cards' together.
    """
    text = config.get_text_config()
    layers, hidden, words = (
        getattr(text, name, None) for name in ("num_hidden_layers", "hidden_size", "vocab_size")
    )
    if not all(isinstance(value, int | None) for value in (layers, hidden, words)):
        raise KoSentError(model, "cannot be loaded (its config.json has no sizes)", "do not use it")
    layers, hidden, words = layers or 0, hidden or 0, words or 0
    # The least that a decoder has: its embeddings, and in a layer more than this.
    least = (words * hidden + layers * hidden * hidden) * bytes_each
    if layers > MOST_LAYERS or least > memory:
        raise KoSentError(
            model,
            f"a model of {layers:,} layers, at least {least / 2**30:,.0f} GiB, and here "
            f"are {memory / 2**30:,.0f}",
            "run it on a larger machine, or behind --endpoint",
        )
