"""Whether the batcher computes what a model computes by itself, and up to what length."""

from __future__ import annotations

import sys
from array import array

import torch
from transformers import PreTrainedModel

from kosent_hub.evaluation.backends.local.batcher import Batcher

STEPS = 4
# How far below the model's best logit the logit of a chosen token may be, in standard deviations
# of the logits: rounding moves a logit by hundredths, a wrong cache by several.
TOLERANCE = 0.25


def fast_length(model: PreTrainedModel) -> int:
    """Tokens of prompt and reply together up to which the batcher is right for this model; 0 if it
    never is.

    Models differ in their attention, state and positions in more ways than a list could name. So
    it is tried, where attention is plain enough for `sdpa`: the tokens that the batcher chooses
    must be the model's own best.
    """
    if model.config._attn_implementation == "sdpa" and _agrees(model):
        return _window(model)
    print(
        f"{type(model).__name__}: has an attention or a cache of its own; generating in plain "
        "batches",
        file=sys.stderr,
    )
    return 0


def _window(model: PreTrainedModel) -> int:
    """Tokens that the model's layer with the shortest reach can attend to."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    limits = [getattr(config, "max_position_embeddings", None)]
    if "sliding_attention" in kinds:
        limits.append(getattr(config, "sliding_window", None))
    if "chunked_attention" in kinds:
        limits.append(getattr(config, "attention_chunk_size", None))
    return min((limit for limit in limits if limit), default=sys.maxsize)


def _agrees(model: PreTrainedModel) -> bool:
    """Whether the batcher's replies are the model's own best."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = min(1000, model.config.get_text_config().vocab_size)
    ids = torch.randint(3, vocabulary, (30,), generator=generator).tolist()
    # A prompt, a longer one that begins with it, one that differs from it after a few tokens.
    prompts = [array("i", p) for p in (ids[:12], ids[:21], ids[:7] + ids[21:])]
    try:
        replies = dict(Batcher(model, prompts, frozenset(), STEPS, budget=10_000).run())
    except Exception:  # whatever the model's own code raises when it meets our cache
        return False
    return all(_is_best(model, prompts[i].tolist(), reply) for i, reply in replies.items())


@torch.inference_mode()
def _is_best(model: PreTrainedModel, prompt: list[int], reply: list[int]) -> bool:
    """Whether each token of the reply is among the best by the model's own plain forward pass."""
    ids = torch.tensor([prompt + reply], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    chosen = logits.gather(1, torch.tensor(reply, device=logits.device)[:, None])[:, 0]
    return bool((logits.amax(dim=1) - chosen <= TOLERANCE * logits.std(dim=1)).all())
