"""An adapter put onto its base: vocabularies of one size, and all its weights in their places."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import logging

from kosent_hub.models.chat_format import EXAMPLE
from kosent_hub.models.locate import Located
from kosent_hub.models.repos.adapter_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, cached
from kosent_hub.models.repos.untrusted import explained, read_settings
from model_card.publishing.errors import KoSentError

# What stands before a layer's name in an adapter's file.
_PREFIX = "base_model.model."
# Of the embeddings or of the head: weights with a row for each word of the vocabulary.
_FULL_ROWS = (
    *("weight", "base_layer.weight", "modules_to_save.weight", "token_adapter.base_layer.weight"),
    *("lora_B.weight", "lora_magnitude_vector"),
)


@dataclass(frozen=True)
class Attached:
    """A base with its adapter, a PeftModel; how many of the adapter's weights fit no layer; and
    what a user should know of both."""

    model: Any
    unused: int
    notes: list[str]


def attach(base: PreTrainedModel, located: Located) -> Attached:
    """The base with the located adapter, in evaluation mode.

    Raises KoSentError, one line, for an adapter that peft cannot load, and for one that lacks
    weights of its own layers: it was made for a model with other ones.
    """
    from peft import PeftModel

    revision = located.repo.revision
    # None is no revision to peft: it would ask for the branch of that name.
    pinned: dict[str, Any] = {"revision": revision} if revision else {}
    shapes = _shapes(located)
    with explained(located.model_id), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a list of missing weights, which is refused below
        settings = _settings(located)
        _refuse_missing_copies(settings, located, list(shapes))
        notes = _resize(base, located, settings, shapes)
        mapping = getattr(base, "_checkpoint_conversion_mapping", {})
        model = PeftModel.from_pretrained(base, located.model_id, **pinned)
        # The same weights once more, for what `from_pretrained` keeps to itself: which ones fitted.
        fitted = model.load_adapter(located.model_id, "default", key_mapping=mapping, **pinned)
    unused = [name for name in fitted.unexpected_keys if not _is_copy(name)]
    if fitted.missing_keys:
        expected = sum(".default" in name for name, _ in model.named_parameters())
        raise KoSentError(
            located.model_id,
            f"{len(fitted.missing_keys)} of the {expected} weights that its {ADAPTER_CONFIG} asks "
            f"for are not in {ADAPTER_WEIGHTS}, and {len(unused)} that are there fit no layer of "
            f"{located.base_id}",
            f"name the base that it was made for in {ADAPTER_CONFIG}, as base_model_name_or_path",
        )
    if unused:
        notes.append(
            f"{len(unused)} of its {len(shapes)} weights fit no layer of {located.base_id} and are "
            f"left out ({unused[0]}, ...)"
        )
    return Attached(model.eval(), len(unused), notes)


def _shapes(located: Located) -> dict[str, list[int]]:
    """The shape of each of the adapter's weights, by its name."""
    path = cached(located.model_id, ADAPTER_WEIGHTS, located.repo.revision)
    with explained(located.model_id), safe_open(path, "pt") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118


def _refuse_missing_copies(settings: Mapping[str, Any], located: Located, names: list[str]) -> None:
    """Raise KoSentError if layers that the adapter has whole copies of (`modules_to_save`) are not
    among the names of its weights."""
    own = [f".{name}" for name in names if not _is_copy(name)]
    layers = settings.get("modules_to_save") or []
    missing = [layer for layer in layers if not any(f".{layer}." in name for name in own)]
    if missing:
        raise KoSentError(
            located.model_id,
            f"its {ADAPTER_CONFIG} says that it has {', '.join(missing)} whole (modules_to_save), "
            f"and {ADAPTER_WEIGHTS} has not",
            "save or copy the adapter again",
        )


def _is_copy(name: str) -> bool:
    """Whether peft has written this weight for the second time, under its module's inner name."""
    return ".modules_to_save." in name or ".original_module." in name


def _settings(located: Located) -> dict[str, Any]:
    path = cached(located.model_id, ADAPTER_CONFIG, located.repo.revision)
    return {} if path is None else read_settings(path, f"{located.model_id}/{ADAPTER_CONFIG}")


def _resize(
    base: PreTrainedModel,
    located: Located,
    settings: Mapping[str, Any],
    shapes: Mapping[str, list[int]],
) -> list[str]:
    """Give the base's vocabulary the size that the adapter was trained with; notes for the user.

    That is the size of its embeddings where it has them; else its tokenizer's, where that has
    tokens in use beyond the base's. New rows that are in no file are about the mean of the others,
    as in peft's AutoPeftModel.
    """
    embeddings: Any = base.get_input_embeddings()
    rows: int = embeddings.weight.shape[0]
    wanted = _rows(base, shapes)
    known = wanted is not None
    if wanted is None:
        form = located.form
        used = [*form.prompt(EXAMPLE), *form.end_ids, *_trained_tokens(settings)]
        wanted = max(rows, len(form.tokenizer)) if max(used) >= rows else rows
    if wanted == rows:
        return []
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # how the new rows begin, which the notes say
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            base.resize_token_embeddings(wanted)
    finally:
        logging.set_verbosity(before)
    if known:
        return []
    return [
        f"its tokenizer has {wanted - rows} tokens more than {located.base_id}; those without "
        "weights in the adapter get the mean of the others"
    ]


def _rows(base: PreTrainedModel, shapes: Mapping[str, list[int]]) -> int | None:
    """The size of the vocabulary in the adapter's weights, None where none of them shows it."""
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    layers = [name for name, module in base.named_modules() if any(module is end for end in ends)]
    for name, shape in shapes.items():
        place = name.removeprefix(_PREFIX)
        for layer in layers:
            weight = place.removeprefix(f"{layer}.")
            if weight.startswith("lora_embedding_A") and len(shape) == 2:
                return shape[1]
            if weight in _FULL_ROWS and weight != place and shape:
                return shape[0]
    return None


def _trained_tokens(settings: Mapping[str, Any]) -> list[int]:
    """The ids of the tokens that an adapter trains one by one."""
    found = settings.get("trainable_token_indices") or []
    lists = found.values() if isinstance(found, dict) else [found]
    return [token for tokens in lists for token in tokens]
