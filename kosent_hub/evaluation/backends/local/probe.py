"""How a model's replies can be made many at a time, and still be those that it makes alone."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import GenerationConfig, PreTrainedModel

from kosent_hub.evaluation.backends.local.batcher import Batcher
from kosent_hub.evaluation.backends.local.masks import NO_WINDOW, Window, window_of
from kosent_hub.evaluation.backends.local.plain import Batches
from kosent_hub.models.generation import generate
from model_card.publishing.errors import KoSentError

STEPS = 4
# Shorter than every prompt that is tried.
PROBED_WINDOW = 8
# How much logits may differ, in standard deviations of them: rounding to 16 bits moves a logit by
# hundredths, a wrong cache by several; in float32 it moves them by millionths.
TOLERANCE, TOLERANCE_FLOAT32 = 0.25, 0.001


@dataclass(frozen=True)
class Reach:
    """Tokens of prompt and reply together up to which the batcher is right for a model, 0 if it
    never is; and the sliding window that it then keeps."""

    tokens: int
    window: Window = NO_WINDOW


def fast_reach(model: PreTrainedModel) -> Reach:
    """How far the batcher is right for this model.

    Models differ in their attention, state and positions in more ways than a list could name. So
    it is tried, where attention is plain enough for `sdpa`: the tokens that the batcher chooses
    must be the model's own best. A sliding window is tried at a few tokens, whatever its size;
    where the model does not agree, the batcher is right up to its size only.
    """
    config, window = model.config.get_text_config(), window_of(model)
    limits = [getattr(config, "max_position_embeddings", None)]
    if "chunked_attention" in (getattr(config, "layer_types", None) or ()):
        limits.append(getattr(config, "attention_chunk_size", None))
    if model.config._attn_implementation == "sdpa" and not _has_state(model):
        if window.tokens and _agrees_beyond(model, window):
            return Reach(_least(limits), window)
        if _agrees(model, NO_WINDOW):
            return Reach(_least([*limits, window.tokens]))
    print(
        f"{type(model).__name__}: has an attention or a cache of its own; generating in plain "
        "batches",
        file=sys.stderr,
    )
    return Reach(0)


def plain_batches(model: PreTrainedModel, pad: int) -> Batches:
    """The largest batches in which the model's own `generate` gives what it gives to each prompt
    alone: padded on the left, or of prompts of one length, or of one prompt.

    Raises KoSentError, one line, for a model that cannot generate at all.
    """
    first, second, third = _prompts(model)
    same = (third + first)[: len(second)]
    try:
        alone = {len(p): _step_logits(model, [p], pad)[0] for p in (first, second)}
        other = _step_logits(model, [same], pad)[0]
    except Exception as error:  # whatever the model's own code raises
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise KoSentError(
            model.config.name_or_path or type(model).__name__,
            f"transformers cannot generate with a {type(model).__name__} here ({why})",
            "serve it with an engine that can, and name that server with --endpoint",
        ) from error
    for batches, prompts, expected in (
        (Batches(), [second, first], [alone[len(second)], alone[len(first)]]),
        (Batches(padded=False), [second, same], [alone[len(second)], other]),
    ):
        try:
            found = _step_logits(model, prompts, pad)
        except Exception:  # as above, when it meets a batch
            continue
        if all(_alike(a, b, _tolerance(model)) for a, b in zip(found, expected, strict=True)):
            return batches
    return Batches(rows=1)


def _has_state(model: PreTrainedModel) -> bool:
    """Whether the model carries a state from token to token, beside keys and values."""
    return bool(getattr(model, "_is_stateful", False))


@torch.inference_mode()
def _step_logits(model: PreTrainedModel, prompts: list[array], pad: int) -> list[torch.Tensor]:
    """Of each prompt of a batch, longest first: the logits of the next tokens, (steps, words)."""
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=STEPS,
        pad_token_id=pad,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
    )
    out = generate(model, prompts, pad, generation_config=settings)
    return list(torch.stack(out.logits, dim=1).float())


def _tolerance(model: PreTrainedModel) -> float:
    return TOLERANCE_FLOAT32 if model.dtype == torch.float32 else TOLERANCE


def _alike(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Whether logits of the same steps, (steps, words), differ by rounding only; of steps after one
    that chose another token nothing can be said."""
    same = found.argmax(dim=1) == expected.argmax(dim=1)
    steps = len(same) if same.all() else int(same.int().argmin()) + 1
    gap = (found[:steps] - expected[:steps]).abs().amax(dim=1)
    return bool((gap <= tolerance * expected[:steps].std(dim=1)).all())


def _least(limits: Sequence[int | None]) -> int:
    return min((limit for limit in limits if limit), default=sys.maxsize)


def _agrees_beyond(model: PreTrainedModel, window: Window) -> bool:
    """Whether the batcher's replies are the model's own best where prompts are longer than the
    window."""
    config = model.config.get_text_config()
    config.sliding_window = min(PROBED_WINDOW, window.tokens or PROBED_WINDOW)
    try:
        return _agrees(model, replace(window, tokens=config.sliding_window))
    finally:
        config.sliding_window = window.tokens


def _agrees(model: PreTrainedModel, window: Window) -> bool:
    """Whether the batcher's replies are the model's own best."""
    prompts = _prompts(model)
    try:
        batcher = Batcher(model, prompts, frozenset(), STEPS, budget=10_000, window=window)
        replies = dict(batcher.run())
    except Exception:  # whatever the model's own code raises when it meets our cache
        return False
    return all(_is_best(model, prompts[i].tolist(), reply) for i, reply in replies.items())


def _prompts(model: PreTrainedModel) -> list[array]:
    """A prompt, a longer one that begins with it, one that differs from it after a few tokens."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = min(1000, model.config.get_text_config().vocab_size)
    ids = torch.randint(3, vocabulary, (30,), generator=generator).tolist()
    return [array("i", p) for p in (ids[:12], ids[:21], ids[:7] + ids[21:])]


@torch.inference_mode()
def _is_best(model: PreTrainedModel, prompt: list[int], reply: list[int]) -> bool:
    """Whether each token of the reply is among the best by the model's own plain forward pass."""
    ids = torch.tensor([prompt + reply], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    chosen = logits.gather(1, torch.tensor(reply, device=logits.device)[:, None])[:, 0]
    return bool((logits.amax(dim=1) - chosen <= _tolerance(model) * logits.std(dim=1)).all())
