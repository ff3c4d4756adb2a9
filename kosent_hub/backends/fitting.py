"""How well the true replies fit a model: the numbers behind perplexity and token accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from kosent_hub.backends import Fit
from kosent_hub.data import IGNORED, encoder
from kosent_hub.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Logits are the largest thing here: tokens of a batch times the vocabulary.
LOGITS_BUDGET = 2**27


def fits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: Sequence[Sample]
) -> Iterator[Fit]:
    """One Fit per sample, from one pass over each dialogue, whose tokens are those of training."""
    dialogues = _dialogues(samples)
    longest = [samples[indices[-1]] for indices in dialogues]
    texts = (
        [*sample.messages, {"role": "assistant", "content": sample.target}] for sample in longest
    )
    encoded = [(row["input_ids"], spans(row["labels"])) for row in encoder(tokenizer).encode(texts)]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]), reverse=True)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    while order:
        width = len(encoded[order[0]][0])
        size = max(1, LOGITS_BUDGET // vocabulary // width)
        chosen, order = order[:size], order[size:]
        rows = [encoded[i][0] for i in chosen]
        for place, right in zip(chosen, _token_scores(model, rows), strict=True):
            nll, hits = right
            found = encoded[place][1]
            for index in dialogues[place]:
                begin, end = found[_turn(samples[index])]
                yield Fit(
                    index,
                    nll=float(nll[begin - 1 : end - 1].sum()),
                    correct=int(hits[begin - 1 : end - 1].sum()),
                    tokens=end - begin,
                )


def _dialogues(samples: Sequence[Sample]) -> list[list[int]]:
    """Indices of the samples of each dialogue, by growing history."""
    order = sorted(range(len(samples)), key=lambda i: (samples[i].dialogue_id, _turn(samples[i])))
    return [list(group) for _, group in groupby(order, lambda i: samples[i].dialogue_id)]


def _turn(sample: Sample) -> int:
    """How many replies stand in the sample's history."""
    return sum(message["role"] == "assistant" for message in sample.messages)


def spans(labels: Sequence[int]) -> list[tuple[int, int]]:
    """Where each reply's learned tokens lie."""
    found, at = [], 0
    for learned, run in groupby(labels, lambda label: label != IGNORED):
        end = at + len(list(run))
        if learned:
            found.append((at, end))
        at = end
    return found


@torch.inference_mode()
def _token_scores(
    model: PreTrainedModel, rows: Sequence[Sequence[int]]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each row, of every token but the first: negative log-likelihood, and if it came first."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=model.device)
    shown = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    logits = model(input_ids=ids, attention_mask=shown.to(model.device), use_cache=False).logits
    found = []
    for row, tokens, scores in zip(rows, ids, logits, strict=True):
        scores = scores[: len(row) - 1].float()
        nll = torch.nn.functional.cross_entropy(scores, tokens[1 : len(row)], reduction="none")
        found.append((nll.cpu(), (scores.argmax(dim=-1) == tokens[1 : len(row)]).cpu()))
    return found
