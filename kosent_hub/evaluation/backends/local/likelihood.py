"""Log-likelihoods of the true replies: what perplexity and token accuracy are computed from."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from transformers import PreTrainedModel

from kosent_hub.evaluation.backends import TargetScore
from kosent_hub.evaluation.backends.local.attention import shared_prefix
from kosent_hub.evaluation.backends.local.cache import PrefillCache
from kosent_hub.evaluation.backends.local.masks import Window
from kosent_hub.evaluation.backends.local.prefill import common_prefix, prefill
from kosent_hub.evaluation.backends.local.probe import Reach
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import IGNORED, ChatFormat, UnusableDialogue

# Logits take the most memory: as many numbers as replies in a batch have tokens, times the
# vocabulary.
LOGITS_BUDGET = 2**25
TOKENS_BUDGET = 2**12


@dataclass(frozen=True)
class Dialogue:
    """A training sample's tokens, and where in it true replies are: (index, begin, end)."""

    tokens: array
    replies: list[tuple[int, int, int]]

    @property
    def asked(self) -> int:
        """How many of its tokens are predicted: those of the replies."""
        return sum(end - begin for _, begin, end in self.replies)


def score_targets(
    model: PreTrainedModel,
    form: ChatFormat,
    samples: Sequence[Sample],
    wanted: frozenset[int],
    reach: Reach,
) -> Iterator[TargetScore]:
    """A TargetScore for each wanted place among the samples, from one pass over each dialogue,
    whose tokens are those of training. What all dialogues begin with is computed once, within
    `reach`.

    Batches, and so rounding, depend on all the samples: a sample's numbers are the same to the last
    bit, whichever others are wanted.
    """
    dialogues, unusable = _dialogues(form, samples)
    yield from (TargetScore(index, 0.0, 0, 0) for index in unusable if index in wanted)
    yield from _scores(model, dialogues, wanted, reach)


def score_texts(
    model: PreTrainedModel, tokenizer: Any, samples: Sequence[Sample], wanted: frozenset[int]
) -> Iterator[TargetScore]:
    """A TargetScore for each wanted sample's target as a plain text, outside any dialogue."""
    texts = [plain_text(tokenizer, sample.target) for sample in samples]
    found = [Dialogue(array("i", ids), [(i, 1, len(ids))]) for i, ids in enumerate(texts)]
    found.sort(key=lambda text: len(text.tokens), reverse=True)
    yield from _scores(model, found, wanted, Reach(0))


def plain_text(tokenizer: Any, text: str) -> list[int]:
    """The text's ids after one that the first of them is predicted from: the token that begins
    texts, or for a tokenizer without one that which ends them."""
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return [first, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def _scores(
    model: PreTrainedModel, dialogues: Sequence[Dialogue], wanted: frozenset[int], reach: Reach
) -> Iterator[TargetScore]:
    """The wanted replies' scores; batches depend on all the dialogues, which are longest first."""
    head = model.get_output_embeddings()
    words = model.config.get_text_config().vocab_size if head is None else head.weight.shape[0]
    start = _start(model, dialogues, reach)
    for batch in _batches(dialogues, LOGITS_BUDGET // words):
        if wanted.isdisjoint(index for dialogue in batch for index, _, _ in dialogue.replies):
            continue
        nll, hits = _token_scores(model, batch, start, reach.window)
        at = 0
        for dialogue in batch:
            for index, begin, end in dialogue.replies:
                own = slice(at, at + end - begin)
                at = own.stop
                if index in wanted:
                    yield TargetScore(
                        index, float(nll[own].sum()), int(hits[own].sum()), end - begin
                    )


def _dialogues(form: ChatFormat, samples: Sequence[Sample]) -> tuple[list[Dialogue], list[int]]:
    """The dialogues of the samples as they are trained on, longest first, and the places of samples
    whose dialogue cannot be."""
    order = sorted(range(len(samples)), key=lambda i: (samples[i].row, _turn(samples[i])))
    turns = [list(group) for _, group in groupby(order, lambda i: samples[i].row)]
    longest = (samples[indices[-1]] for indices in turns)
    dialogues, unusable = [], []
    for sample, indices in zip(longest, turns, strict=True):
        try:
            rows = form.samples(sample.dialogue)
        except UnusableDialogue:
            unusable += indices
            continue
        turn = 0
        for row in rows:
            found = spans(row["labels"])
            own = range(turn, turn + len(found))
            turn = own.stop
            here = [i for i in indices if _turn(samples[i]) in own]
            replies = [(i, *found[_turn(samples[i]) - own.start]) for i in here]
            if replies:
                dialogues.append(Dialogue(array("i", row["input_ids"]), replies))
    dialogues.sort(key=lambda dialogue: len(dialogue.tokens), reverse=True)
    return dialogues, unusable


def _batches(dialogues: Sequence[Dialogue], max_asked: int) -> Iterator[list[Dialogue]]:
    """The dialogues, longest first, in batches within TOKENS_BUDGET and `max_asked` predicted
    tokens; a dialogue that exceeds them is a batch alone."""
    batch: list[Dialogue] = []
    asked = 0
    for dialogue in dialogues:
        wide = batch and len(batch[0].tokens) * (len(batch) + 1) > TOKENS_BUDGET
        if batch and (wide or asked + dialogue.asked > max_asked):
            yield batch
            batch, asked = [], 0
        batch.append(dialogue)
        asked += dialogue.asked
    if batch:
        yield batch


def _turn(sample: Sample) -> int:
    """How many replies the sample's history has."""
    return sum(message["role"] == "assistant" for message in sample.messages)


def spans(labels: Sequence[int]) -> list[tuple[int, int]]:
    """(begin, end) of each reply's learned tokens."""
    found, at = [], 0
    for learned, run in groupby(labels, lambda label: label != IGNORED):
        end = at + len(list(run))
        if learned:
            found.append((at, end))
        at = end
    return found


@torch.inference_mode()
def _start(
    model: PreTrainedModel, dialogues: Sequence[Dialogue], reach: Reach
) -> PrefillCache | None:
    """What all dialogues, longest first, begin with before any reply; None if that is nothing, or
    if one of them is longer than `reach`."""
    if not dialogues or len(dialogues[0].tokens) > reach.tokens:
        return None
    # A reply's first token is predicted from the one before it.
    first = min(begin for dialogue in dialogues for _, begin, _ in dialogue.replies) - 1
    common = common_prefix([dialogue.tokens for dialogue in dialogues])[:first]
    if not common:
        return None
    with shared_prefix(model):
        return prefill(model, [common], None, reach.window)[0]


@torch.inference_mode()
def _token_scores(
    model: PreTrainedModel, batch: Sequence[Dialogue], start: PrefillCache | None, window: Window
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token of the replies: its negative log-likelihood in nats, and whether it was the
    model's first choice; the dialogues go on after `start`."""
    skipped = 0 if start is None else start.length
    rest = [dialogue.tokens[skipped:] for dialogue in batch]
    ids = torch.zeros(len(batch), max(map(len, rest)), dtype=torch.long)
    mask, asked = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (dialogue, tokens) in enumerate(zip(batch, rest, strict=True)):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        for _, begin, end in dialogue.replies:
            asked[row, begin - skipped : end - skipped] = True
    targets = ids[asked].to(model.device)
    # A token is predicted from the one before it.
    places = asked.roll(-1, dims=1)
    with _projecting(model, places):
        if start is None:
            device = model.device
            logits = model(
                input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
            ).logits
        else:
            with shared_prefix(model):
                _, logits = prefill(model, rest, start, window, logits_to_keep=0)
    if logits.shape[:-1] == ids.shape:
        logits = logits[places.to(logits.device)]
    nll = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return nll.cpu(), (logits.argmax(dim=-1) == targets).cpu()


@contextmanager
def _projecting(model: PreTrainedModel, places: torch.Tensor) -> Iterator[None]:
    """Inside the `with` block the model's logits are those of `places`, (places, vocabulary),
    unless its head is unknown.

    `places` is a mask, (batch, length): the other logits would take most of the memory.
    """

    def choose(_: torch.nn.Module, args: tuple[Any, ...]) -> tuple[torch.Tensor]:
        return (args[0][places.to(args[0].device)],)

    head = model.get_output_embeddings()
    hook = None if head is None else head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
