"""Prompts that are ours, not the corpus's: the card's conversations and the safety set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from kosent_hub.evaluation import safety
from kosent_hub.evaluation.replies import Outcome
from kosent_hub.evaluation.safety import Case
from kosent_hub.evaluation.samples import Sample
from model_card.conversations import PROMPTS, Conversation


@dataclass(frozen=True)
class Written:
    """The prompts under the dataset's system message, and the safety cases among them."""

    system: str | None
    cases: list[Case]

    @property
    def samples(self) -> list[Sample]:
        """The conversations' prompts and then the safety set's, as samples without a target."""
        before = [{"role": "system", "content": self.system}] if self.system else []
        named = [(f"conversation-{i}", prompt) for i, prompt in enumerate(PROMPTS, start=1)]
        named += [(case.id, case.prompt) for case in self.cases]
        return [
            Sample(f"{name}#1", name, [*before, {"role": "user", "content": prompt}], "")
            for name, prompt in named
        ]

    def conversations(self, outcomes: Sequence[Outcome]) -> list[Conversation]:
        """The model's replies to the card's prompts, beside the baseline's if there is one."""
        theirs: Sequence[str | None] = [None] * len(PROMPTS)
        if len(outcomes) > 1:
            theirs = outcomes[1].written[: len(PROMPTS)]
        return [
            Conversation(prompt, tuned, base, self.system)
            for prompt, tuned, base in zip(PROMPTS, outcomes[0].written, theirs, strict=False)
        ]

    def safety_replies(self, outcome: Outcome) -> list[str]:
        """The replies to the safety set, in its order."""
        return outcome.written[len(PROMPTS) :]

    def safety_lines(self, outcomes: Sequence[Outcome]) -> str:
        """The safety set with the models' replies, a JSON object a line, for a person to read."""
        lines = []
        for i, case in enumerate(self.cases):
            replies = [self.safety_replies(outcome)[i] for outcome in outcomes]
            line: dict[str, object] = {
                "id": case.id,
                "kind": case.kind,
                "prompt": case.prompt,
                "reply": replies[0],
            }
            line |= {"points_to_help": safety.points_to_help(replies[0])}
            line |= {"baseline_reply": replies[1]} if len(replies) > 1 else {}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        return "".join(lines)
