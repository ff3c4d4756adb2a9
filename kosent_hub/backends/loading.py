"""A model on this machine: base, quantised or adapter, from safetensors only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import cached_file

from kosent_hub import device
from kosent_hub.backends import Request, prompts
from kosent_hub.errors import KoSentError
from kosent_hub.model import resolve
from model_card.records import EvaluatedModel

# Of the adapter's effect, what rounding the merged weights may undo or add.
ROUNDING = 0.5
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate, its tokenizer, what it is, and what tells its weights apart."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    record: EvaluatedModel
    identity: dict[str, Any]


def load_model(request: Request) -> Loaded:
    """The requested model in evaluation mode, an adapter active and merged unless quantised.

    Raises KoSentError, one line, for a repo that is missing, gated, no language model, without
    safetensors or in need of its own code.
    """
    repo = resolve(request.model_id, request.revision)
    dtype = request.dtype or device.compute_dtype(use_cpu=not torch.cuda.is_available())
    adapter = _cached(request.model_id, ADAPTER_CONFIG, repo.revision)
    base_id, base = request.model_id, repo
    if adapter is not None:
        settings = json.loads(adapter.read_text(encoding="utf-8"))
        base_id = settings.get("base_model_name_or_path") or ""
        if not base_id:
            raise KoSentError(f"{request.model_id}: {ADAPTER_CONFIG} names no base model")
        base = resolve(base_id, settings.get("revision"))
    at = (request.model_id, repo.revision)
    if adapter is not None and _cached(request.model_id, "tokenizer_config.json", at[1]) is None:
        at = (base_id, base.revision)
    trust = request.trust_remote_code
    with explained(base_id):
        config = AutoConfig.from_pretrained(
            base_id, revision=base.revision, trust_remote_code=trust
        )
    _refuse_other_kinds(base_id, config)
    with explained(at[0]):
        tokenizer = prompts.open_tokenizer(*at, request.chat_template)

    def load_base() -> PreTrainedModel:
        return _load_base(base_id, base.revision, config, dtype, trust)

    if adapter is None:
        model = load_base()
    else:
        text = prompts.render(tokenizer, prompts.EXAMPLE)
        probe = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        model = _with_adapter(load_base, request.model_id, repo.revision, probe)
    method = quantization(model)
    record = EvaluatedModel(
        id=repo.id,
        revision=repo.revision,
        base_model=base.id if adapter is not None else None,
        base_revision=base.revision if adapter is not None else None,
        adapter=adapter is not None,
        dtype=f"{dtype}, {method}" if method else dtype,
        local=repo.local,
    )
    identity = {"files": {name: _stamps(name) for name in sorted({request.model_id, base_id})}}
    return Loaded(model.eval(), tokenizer, record, identity)


def _load_base(
    model_id: str, revision: str | None, config: Any, dtype: str, trust_remote_code: bool
) -> PreTrainedModel:
    with explained(model_id):
        return AutoModelForCausalLM.from_pretrained(
            model_id,
            revision=revision,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            device_map="cuda" if torch.cuda.is_available() else "cpu",
        )


def _refuse_other_kinds(model_id: str, config: Any) -> None:
    """Raise KoSentError unless the repo's architecture writes text from left to right."""
    if getattr(config, "auto_map", None):
        return
    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    architectures = getattr(config, "architectures", None) or []
    if architectures and not known & set(architectures):
        raise KoSentError(
            f"{model_id}: a {architectures[0]} does not generate text; "
            "name a causal language model or an adapter of one"
        )


@contextmanager
def explained(model_id: str) -> Iterator[None]:
    """Raise what transformers says about a repo as one line that the user can act on."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise error.__cause__ from None
        said = " ".join(str(error).split())
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
        raise KoSentError(f"{model_id}: {why}") from error


def _with_adapter(
    load_base: Callable[[], PreTrainedModel],
    adapter_id: str,
    revision: str | None,
    probe: torch.Tensor,
) -> PreTrainedModel:
    """The base with the adapter in it, shown to change what the model says.

    Merged, which is faster, unless the base is quantised or rounding would undo the adapter.
    """
    from peft import PeftModel

    if _cached(adapter_id, ADAPTER_WEIGHTS, revision) is None:
        raise KoSentError(
            f"{adapter_id}: has no {ADAPTER_WEIGHTS}, and pickled weights can run anything; "
            "save the adapter again with a current peft"
        )

    def attach() -> Any:
        # None is no revision to peft: it would ask for the branch of that name.
        pinned: dict[str, Any] = {"revision": revision} if revision else {}
        return PeftModel.from_pretrained(load_base(), adapter_id, **pinned).eval()

    adapted = attach()
    active = _logits(adapted, probe)
    with adapted.disable_adapter():
        bare = _logits(adapted, probe)
    if torch.equal(active, bare):
        raise KoSentError(
            f"{adapter_id}: with the adapter the model answers exactly as without it; "
            "its weights are all zero or fit no layer of the base model"
        )
    if quantization(adapted) is not None:
        return adapted.get_base_model()
    merged = adapted.merge_and_unload()
    if (_logits(merged, probe) - active).norm() < ROUNDING * (bare - active).norm():
        return merged
    print(
        f"{adapter_id}: kept apart from its base, whose number format would round it away",
        file=sys.stderr,
    )
    del adapted, merged
    return attach().get_base_model()


@torch.inference_mode()
def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids.to(model.device)).logits.float()


def _cached(model_id: str, name: str, revision: str | None) -> Path | None:
    """The file's place on this machine, fetched if need be; None if the repo has none."""
    found = cached_file(
        model_id,
        name,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def quantization(model: Any) -> str | None:
    """How the model's weights are quantised, None if they are not."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    method = getattr(config, "quant_method", None)
    return str(getattr(method, "value", method))


def _stamps(model_id: str) -> list[tuple[str, int, int]] | None:
    """Names, sizes and times of a local folder's files: a retrained model is another one."""
    folder = Path(model_id)
    if not folder.is_dir():
        return None
    files = [p for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".jinja")]
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)
