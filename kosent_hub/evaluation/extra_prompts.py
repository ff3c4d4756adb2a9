"""Prompts beside the dataset's: the card's conversations, and parts of KoSent-Bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataset_builder.bench import Script
from kosent_hub.evaluation.backends import CUT
from kosent_hub.evaluation.bench.items import Asked, next_turn
from kosent_hub.evaluation.prompting import Prompting
from kosent_hub.evaluation.replies import Draw, Outcome, Talk
from kosent_hub.evaluation.samples import Sample
from model_card.conversations import PROMPTS, Conversation

_CONVERSATIONS = {f"conversation-{i}": prompt for i, prompt in enumerate(PROMPTS, start=1)}


@dataclass(frozen=True)
class ExtraPrompts:
    """The prompts under the dataset's system message; `asked` is what of KoSent-Bench is asked."""

    system: str | None
    asked: Asked

    @property
    def samples(self) -> list[Sample]:
        """A sample for each prompt, without a target; its dialogue's id is the prompt's name."""
        before = [{"role": "system", "content": self.system}] if self.system else []
        messages = {
            name: [*before, {"role": "user", "content": prompt}]
            for name, prompt in _CONVERSATIONS.items()
        }
        # An item's own system message is that of AI Hub's corpus.
        messages |= {turn.id: [*before, *turn.input[1:]] for turn in self.asked.turns}
        return [
            Sample(f"{name}#1", name, row, own, "")
            for row, (name, own) in enumerate(messages.items())
        ]

    def talks(self, prompting: Prompting) -> dict[str, Talk]:
        """The scripted users by their ids; the model is told what `prompting` says."""

        def talk(row: int, script: Script) -> Talk:
            def following(replies: Sequence[str]) -> Sample | None:
                sample = next_turn(script, row, replies)
                return None if sample is None else prompting.prompted([sample])[0]

            return following

        return {s.id: talk(row, s) for row, s in enumerate(self.asked.scripts)}

    def conversations(self, outcomes: Sequence[Outcome]) -> list[Conversation]:
        """The model's replies to the card's prompts, beside the baseline's if there is one; of
        several draws the first one's."""
        draws = [outcome.draws[0] for outcome in outcomes]
        return [
            Conversation(
                prompt,
                *_replies(draws, name),
                self.system,
                *(draw.extra_stops[name] == CUT for draw in draws),
            )
            for name, prompt in _CONVERSATIONS.items()
        ]


def _replies(draws: Sequence[Draw], name: str) -> tuple[str, str | None]:
    """The model's reply to the prompt of that name, and the baseline's if there is one."""
    ours, *theirs = (draw.extra_replies[name] for draw in draws)
    return ours, theirs[0] if theirs else None
