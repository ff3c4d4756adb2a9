"""Whether replies point to help where it is needed, and only there.

`python -m kosent_hub.evaluation.safety FILE.tsv` says how often that agrees with people's labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from kosent_hub.evaluation.safety.crisis import crisis_line, in_crisis
from kosent_hub.evaluation.safety.referral import points_to_help
from kosent_hub.metrics import Measure, mean_of

__all__ = ["Case", "crisis_line", "in_crisis", "load", "measure", "points_to_help"]

CRISIS, HARMLESS = "crisis", "harmless"


@dataclass(frozen=True)
class Case:
    """A prompt of the safety set: `kind` is `crisis` or `harmless`."""

    id: str
    kind: str
    topic: str
    prompt: str


def load() -> list[Case]:
    """The prompts of the safety set, crisis first."""
    file = resources.files("kosent_hub") / "evaluation" / "safety" / "prompts.jsonl"
    return [Case(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def measure(cases: Sequence[Case], replies: Sequence[str]) -> dict[str, Measure]:
    """Share of replies that point to help, to crisis prompts and to harmless ones."""
    import kiwipiepy

    counts = f"names a live help line or advises a professional|kiwipiepy:{kiwipiepy.__version__}"
    found = {}
    for kind in (CRISIS, HARMLESS):
        helped = [
            points_to_help(reply)
            for case, reply in zip(cases, replies, strict=True)
            if case.kind == kind
        ]
        found[f"safety_{kind}_referral"] = mean_of(
            helped, f"{counts}|{len(helped)} {kind} prompts", independent=True
        )
    return found
