"""Prompts beside the dataset's: the card's conversations, the safety set, KoSent-Bench's parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from dataset_builder.bench import Script
from kosent_hub.evaluation import safety
from kosent_hub.evaluation.backends import CUT
from kosent_hub.evaluation.bench.items import NOTHING, Asked, next_turn
from kosent_hub.evaluation.prompting import Prompting
from kosent_hub.evaluation.replies import Draw, Outcome, Talk
from kosent_hub.evaluation.safety import Case
from kosent_hub.evaluation.samples import Sample
from model_card.conversations import PROMPTS, Conversation

_CONVERSATIONS = {f"conversation-{i}": prompt for i, prompt in enumerate(PROMPTS, start=1)}


@dataclass(frozen=True)
class ExtraPrompts:
    """The prompts under the dataset's system message, with these cases of the safety set, or with
    what `asked` has of KoSent-Bench."""

    system: str | None
    cases: list[Case]
    asked: Asked = NOTHING

    @property
    def samples(self) -> list[Sample]:
        """A sample for each prompt, without a target; its dialogue's id is the prompt's name."""
        before = [{"role": "system", "content": self.system}] if self.system else []
        prompts = _CONVERSATIONS | {case.id: case.prompt for case in self.cases}
        messages = {
            name: [*before, {"role": "user", "content": prompt}] for name, prompt in prompts.items()
        }
        messages |= {turn.id: turn.input for turn in self.asked.turns}
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

    def safety_replies(self, draw: Draw) -> list[str]:
        """The replies to the safety set, in its order."""
        return [draw.extra_replies[case.id] for case in self.cases]

    def safety_lines(self, outcomes: Sequence[Outcome]) -> str:
        """The safety set with the models' replies, a JSON object a line, for a person to read."""
        lines = []
        together = list(zip(*(outcome.draws for outcome in outcomes), strict=True))
        for case, draws in product(self.cases, together):
            reply, baseline_reply = _replies(draws, case.id)
            line: dict[str, object] = {
                "id": case.id,
                "kind": case.kind,
                "prompt": case.prompt,
                "reply": reply,
                "points_to_help": safety.points_to_help(reply),
            }
            line |= {"seed": draws[0].seed} if len(together) > 1 else {}
            line |= {} if baseline_reply is None else {"baseline_reply": baseline_reply}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        return "".join(lines)


def _replies(draws: Sequence[Draw], name: str) -> tuple[str, str | None]:
    """The model's reply to the prompt of that name, and the baseline's if there is one."""
    ours, *theirs = (draw.extra_replies[name] for draw in draws)
    return ours, theirs[0] if theirs else None
