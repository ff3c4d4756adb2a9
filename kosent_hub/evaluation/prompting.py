"""What a model is told beside a sample's own messages: another system message, examples.

A model that was not trained on the dataset learns from them what kind of reply is wanted, so that
the comparison with one that was is fair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import Messages, UnusableDialogue, plain
from model_card.publishing.errors import KoSentError


@dataclass(frozen=True)
class Prompting:
    """The system message, None for the samples' own, and dialogues that stand before a sample's.

    Of `examples` as many as `shots` are shown; the others stand in for one that is the sample's own
    dialogue.
    """

    system: str | None = None
    shots: int = 0
    examples: tuple[Messages, ...] = ()

    def prompted(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples with their prompts so; everything else of them stays."""
        return [replace(s, messages=self._messages(s)) for s in samples]

    def _messages(self, sample: Sample) -> Messages:
        messages = list(sample.messages)
        head = messages[:1] if messages[0]["role"] == "system" else []
        own = messages[len(head) :]
        if self.system is not None:
            head = [{"role": "system", "content": self.system}] if self.system else []
        # The first message tells dialogues apart: a sample does not have the dialogue's end.
        others = [turns for turns in self.examples if turns[0] != own[0]]
        return [*head, *(turn for turns in others[: self.shots] for turn in turns), *own]


def choose_examples(rows: Any, dataset: str, shots: int, seed: int) -> tuple[Messages, ...]:
    """Dialogues of the training split, drawn with the seed, twice as many as `shots`.

    They are the same for all samples, so that their part of the prompts is computed once. Each
    begins with the user, ends with the assistant, and has no system message. Raises KoSentError
    where there are too few.
    """
    if rows is None:
        raise KoSentError(
            dataset, "has no split 'train' to take examples from", "leave --few-shot out"
        )
    found: list[Messages] = []
    for place in np.random.default_rng(seed).permutation(len(rows)).tolist():
        try:
            messages = plain(rows[place]["messages"])
        except UnusableDialogue:
            continue
        turns = messages[1:] if messages[0]["role"] == "system" else messages
        roles = [message["role"] for message in turns]
        if roles and roles == ["user", "assistant"] * (len(roles) // 2):
            found.append(turns)
        if len(found) == 2 * shots:
            break
    if len(found) < shots + 1:
        raise KoSentError(
            f"--few-shot {shots}",
            f"the training split has {len(found)} dialogues of user and assistant in turn",
            "ask for fewer, so that one is left in place of a sample's own dialogue",
        )
    return tuple(found)
