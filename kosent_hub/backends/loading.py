"""A model on this machine: base, quantised or adapter, from safetensors only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import cached_file

from kosent_hub import device
from kosent_hub.backends import Request
from kosent_hub.errors import KoSentError
from kosent_hub.model import resolve
from model_card.records import EvaluatedModel

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate, what it is, and where its tokenizer lies (id, revision)."""

    model: PreTrainedModel
    record: EvaluatedModel
    tokenizer_at: tuple[str, str | None]
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
        config = json.loads(adapter.read_text(encoding="utf-8"))
        base_id = config.get("base_model_name_or_path") or ""
        if not base_id:
            raise KoSentError(f"{request.model_id}: {ADAPTER_CONFIG} names no base model")
        base = resolve(base_id, config.get("revision"))
    model = _load_base(base_id, base.revision, dtype, request.trust_remote_code)
    quantized = getattr(model.config, "quantization_config", None) is not None
    if adapter is not None:
        model = _with_adapter(model, request.model_id, repo.revision, merge=not quantized)
    has_tokenizer = _cached(request.model_id, "tokenizer_config.json", repo.revision) is not None
    record = EvaluatedModel(
        id=repo.id,
        revision=repo.revision,
        base_model=base.id if adapter is not None else None,
        base_revision=base.revision if adapter is not None else None,
        adapter=adapter is not None,
        dtype=f"{dtype}, {_method(model)}" if quantized else dtype,
        local=repo.local,
    )
    identity = {"files": {name: _stamps(name) for name in {request.model_id, base_id}}}
    return Loaded(
        model.eval(),
        record,
        (request.model_id, repo.revision) if has_tokenizer else (base_id, base.revision),
        identity,
    )


def _load_base(
    model_id: str, revision: str | None, dtype: str, trust_remote_code: bool
) -> PreTrainedModel:
    place = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        config = AutoConfig.from_pretrained(
            model_id, revision=revision, trust_remote_code=trust_remote_code
        )
        _refuse_other_kinds(model_id, config)
        return AutoModelForCausalLM.from_pretrained(
            model_id,
            revision=revision,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            device_map=place,
        )
    except (OSError, ValueError, ImportError) as error:
        raise _explained(model_id, error) from error


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


def _explained(model_id: str, error: Exception) -> Exception:
    """The error as one line the user can act on."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error.__cause__, HfHubHTTPError):
        return error.__cause__
    said = " ".join(str(error).split())
    if "trust_remote_code" in said:
        return KoSentError(
            f"{model_id}: needs Python code of its own to load; "
            "read that code, then allow it with --trust-remote-code"
        )
    if "safetensors" in said:
        return KoSentError(
            f"{model_id}: has no safetensors weights, and pickled ones can run anything; "
            "ask its author for safetensors, or convert it"
        )
    return KoSentError(f"{model_id}: cannot be loaded ({said[:300]})")


def _with_adapter(
    model: PreTrainedModel, adapter_id: str, revision: str | None, *, merge: bool
) -> PreTrainedModel:
    """The model with the adapter in it, shown to change what the model says."""
    from peft import PeftModel

    if _cached(adapter_id, ADAPTER_WEIGHTS, revision) is None:
        raise KoSentError(
            f"{adapter_id}: has no {ADAPTER_WEIGHTS}, and pickled weights can run anything; "
            "save the adapter again with a current peft"
        )
    # None is no revision to peft: it would ask for the branch of that name.
    pinned: dict[str, Any] = {"revision": revision} if revision else {}
    adapted: Any = PeftModel.from_pretrained(model, adapter_id, **pinned).eval()
    with torch.inference_mode():
        probe = torch.arange(5, 13, device=model.device)[None]
        active = adapted(input_ids=probe).logits
        with adapted.disable_adapter():
            bare = adapted(input_ids=probe).logits
        if torch.equal(active, bare):
            raise KoSentError(
                f"{adapter_id}: with the adapter the model answers exactly as without it; "
                "its weights are all zero or fit no layer of the base model"
            )
        if not merge:
            return adapted.get_base_model()
        merged = adapted.merge_and_unload()
        after = merged(input_ids=probe).logits
        # Rounding moves logits; the merged model must still stand with the adapter, not the base.
        if (after - active).norm() >= (after - bare).norm():
            raise KoSentError(
                f"{adapter_id}: merging the adapter in {active.dtype} lost it; "
                "run again with --dtype float32"
            )
    return merged


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


def _method(model: PreTrainedModel) -> str:
    method = model.config.quantization_config.quant_method
    return str(getattr(method, "value", method))


def _stamps(model_id: str) -> list[tuple[str, int, int]] | None:
    """Names, sizes and times of a local folder's files: a retrained model is another one."""
    folder = Path(model_id)
    if not folder.is_dir():
        return None
    files = [p for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".jinja")]
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)
