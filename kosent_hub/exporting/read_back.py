"""A GGUF file held to the model it was made from: metadata, token ids, replies."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kosent_hub.demo_models.gguf_files import read_gguf
from kosent_hub.evaluation.backends.local.plain import plain_replies
from kosent_hub.exporting.texts import odd_texts
from kosent_hub.models.chat_format import ChatFormat
from kosent_hub.models.locate import Located, ModelRef, locate
from kosent_hub.models.weights.load import load_causal_model
from kosent_hub.models.weights.merge import next_logits
from kosent_hub.models.weights.merged import PROMPTS
from kosent_hub.models.weights.probes import SENTENCES, probe_prompts
from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id

# Of a greedy reply.
NEW_TOKENS = 32
# Not the padding token: ours may be another one that the tokenizer reserves.
_SPECIAL = {
    "bos_token_id": "bos_token_id",
    "eos_token_id": "eos_token_id",
    "unknown_token_id": "unk_token_id",
}


@dataclass(frozen=True)
class Source:
    """The merged model that a GGUF file is made from, and how it answers the probes: `replies` are
    token ids, `logits` those of the first tokens of the first ten."""

    located: Located
    replies: list[list[int]]
    logits: torch.Tensor
    base_model: str
    license: str | None


@dataclass(frozen=True)
class Checks:
    """What was found equal: texts by their token ids, replies of all the prompts by theirs; the
    largest difference of the logits of first tokens; and the metadata that was read back."""

    texts: int
    prompts: int
    equal_replies: int
    largest: float
    metadata: dict[str, Any]


def source(folder: Path, base_model: str, license_id: str | None) -> Source:
    """The merged model in `folder`, of that base and licence."""
    located = locate(ModelRef(str(folder)))
    return Source(located, *_answers(str(folder), located.form), base_model, license_id)


def check_metadata(file: Path, found: Source) -> dict[str, Any]:
    """The metadata of a GGUF file; raises KoSentError unless chat template, special tokens, licence
    and base are those of the source."""
    fields = read_gguf(file).fields
    tokenizer: Any = found.located.form.tokenizer
    wanted: dict[str, Any] = {"tokenizer.chat_template": tokenizer.get_chat_template()}
    for name, ours in _SPECIAL.items():
        if f"tokenizer.ggml.{name}" in fields or name in ("bos_token_id", "eos_token_id"):
            number = getattr(tokenizer, ours)
            if number is not None:
                wanted[f"tokenizer.ggml.{name}"] = number
    if found.license is not None:
        wanted["general.license"] = found.license
    if is_hub_id(found.base_model):
        wanted["general.base_model.0.repo_url"] = f"https://huggingface.co/{found.base_model}"
    for name, value in wanted.items():
        if fields.get(name) != value:
            shown = repr(fields.get(name))[:60]
            raise _refused(f"its metadata have {name} {shown}, expected {value!r:.60}")
    return {name: value for name, value in wanted.items() if "template" not in name}


def check_tokens(file: Path, found: Source) -> int:
    """How many texts have the same token ids; raises KoSentError where one has others."""
    try:
        form = locate(ModelRef(str(file))).form
    except KoSentError as error:
        raise _refused(
            f"transformers cannot open its tokenizer again ({error.what[:200]})"
        ) from error
    ours, theirs = found.located.form, form
    for prompt, again in zip(
        probe_prompts(ours, len(SENTENCES)), probe_prompts(theirs, len(SENTENCES)), strict=True
    ):
        if prompt != again:
            raise _refused("its prompts have other token ids")
    texts = odd_texts()
    for text in texts:
        first, second = (
            list(tokenizer(text, add_special_tokens=False)["input_ids"])
            for tokenizer in (ours.tokenizer, theirs.tokenizer)
        )
        if first != second:
            raise _refused(f"the text {text[:40]!r} has other token ids")
    return len(texts)


def check_replies(file: Path, found: Source, *, exact: bool) -> tuple[int, float]:
    """How many greedy replies have the source's tokens, and the largest difference of the logits.

    Raises KoSentError for another reply if they have to be `exact`.
    """
    replies, logits = _answers(str(file), found.located.form)
    equal = sum(a == b for a, b in zip(replies, found.replies, strict=True))
    if exact and equal < len(replies):
        raise _refused(f"{len(replies) - equal} of {len(replies)} greedy replies are others")
    return equal, (logits - found.logits).abs().max().item()


def _answers(model_id: str, form: ChatFormat) -> tuple[list[list[int]], torch.Tensor]:
    """Greedy replies to the probes, and the logits of the first ones' first tokens, in float32."""
    model = load_causal_model(model_id, None, "float32").eval()
    prompts: list[array[int]] = probe_prompts(form, len(SENTENCES))
    pad = form.tokenizer.pad_token_id
    stop = form.stop_ids(None)
    replies = dict(plain_replies(model, prompts, stop, NEW_TOKENS, pad))
    return [replies[i] for i in range(len(prompts))], next_logits(model, prompts[:PROMPTS])


def _refused(why: str) -> KoSentError:
    return KoSentError(
        None,
        f"this family of models does not survive its way into a GGUF file: {why}",
        "export it with --merged DIR",
    )
