"""Whether the fast path computes what the model itself computes, and up to what length."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from kosent_hub.evaluation.backends.local.attention import GROUPED, attention
from kosent_hub.evaluation.backends.local.batcher import Batcher

STEPS = 4
# How far below the model's best logit a chosen token may lie, in standard deviations of the
# logits: rounding moves a logit by hundredths, a wrong cache by several.
TOLERANCE = 0.25


@dataclass(frozen=True)
class FastPath:
    """How the fast path is right for a model: with which attention, up to how many tokens."""

    attention: str
    length: int


def fast_path(model: PreTrainedModel) -> FastPath | None:
    """The fast path for this model, None where it is not right.

    Models differ in how they keep state, count positions and cut windows in more ways than a list
    could keep up with, so the model is asked: tokens chosen on the fast path must be its own best.
    """
    usual = model.config._attn_implementation
    choices = [usual]
    if model.device.type == "cpu" and usual == "sdpa":
        choices.insert(0, GROUPED)
    for name in choices:
        if _agrees(model, name):
            return FastPath(name, _window(model))
    print(
        f"{type(model).__name__}: keeps its cache in its own way; generating in plain batches",
        file=sys.stderr,
    )
    return None


def _window(model: PreTrainedModel) -> int:
    """The shortest length that some layer of the model can look back."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    limits = [getattr(config, "max_position_embeddings", None)]
    if "sliding_attention" in kinds:
        limits.append(getattr(config, "sliding_window", None))
    if "chunked_attention" in kinds:
        limits.append(getattr(config, "attention_chunk_size", None))
    return min((limit for limit in limits if limit), default=sys.maxsize)


def _agrees(model: PreTrainedModel, name: str) -> bool:
    """Whether replies made with that attention are the model's own best."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = min(1000, model.config.get_text_config().vocab_size)
    ids = torch.randint(3, vocabulary, (30,), generator=generator).tolist()
    # A prompt, a longer one that begins with it, one that leaves it after a few tokens.
    prompts = [array("i", p) for p in (ids[:12], ids[:21], ids[:7] + ids[21:])]
    try:
        with attention(model, name):
            replies = dict(Batcher(model, prompts, frozenset(), STEPS, budget=10_000).run())
    except Exception:  # whatever it is that this model's own code cannot do with our cache
        return False
    return all(_is_best(model, prompts[i].tolist(), reply) for i, reply in replies.items())


@torch.inference_mode()
def _is_best(model: PreTrainedModel, prompt: list[int], reply: list[int]) -> bool:
    """Whether each token of the reply is among the best by the model's own plain forward pass."""
    ids = torch.tensor([prompt + reply], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    chosen = logits.gather(1, torch.tensor(reply, device=logits.device)[:, None])[:, 0]
    return bool((logits.amax(dim=1) - chosen <= TOLERANCE * logits.std(dim=1)).all())
