"""KoSent-Bench as samples: its dialogues, and what is asked beside them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from dataset_builder.bench import Benchmark, Script, Turn, load, turns
from dataset_builder.bench.turns import CONDUCT, CRISIS, DIALOGUES
from dataset_builder.options import SYSTEM_PROMPT
from kosent_hub.evaluation.bench.rules import holds
from kosent_hub.evaluation.samples import Sample, of_rows
from kosent_hub.models.chat_format import ChatFormat
from model_card.records import BENCH, EvaluatedDataset

Item = TypeVar("Item")
SPLIT = "test"


@dataclass(frozen=True)
class Asked:
    """What of the benchmark is asked beside its dialogues."""

    version: str
    turns: tuple[Turn, ...]
    scripts: tuple[Script, ...]

    def of(self, part: str) -> list[Turn]:
        """The turns of the part, CRISIS or CONDUCT."""
        return [turn for turn in self.turns if turn.part == part]


# What is asked of it where nothing is.
NOTHING = Asked("", (), ())


def crisis_alone() -> Asked:
    """The crisis part, which is asked beside the dialogues of other datasets too."""
    bench = load()
    return Asked(bench.version, tuple(t for t in turns(bench) if t.part == CRISIS), ())


def load_bench(
    limit: int | None, forms: Sequence[ChatFormat], max_dropped: float
) -> tuple[list[Sample], EvaluatedDataset, Asked]:
    """The dialogues' samples, the first `limit` of them; what they are; and the other parts.

    Of the other parts the same share is taken, evenly over their kinds, and one at least. Raises
    KoSentError for files that are not those of the version.
    """
    bench = load()
    found = turns(bench)
    dialogues = [turn for turn in found if turn.part == DIALOGUES]
    rows = [_row(list(own)) for _, own in groupby(dialogues, key=lambda turn: turn.item)]
    samples, kept, dropped = of_rows(rows, SPLIT, limit, forms, max_dropped)
    targets = {turn.id: turn.targets for turn in dialogues}
    samples = [replace(sample, others=targets[sample.id][1:]) for sample in samples]
    taken = 1.0 if limit is None else min(1.0, limit / len(dialogues))
    crisis = [turn for turn in found if turn.part == CRISIS]
    asked = Asked(
        bench.version,
        (
            *_share([turn for turn in crisis if turn.due], taken),
            *_share([turn for turn in crisis if not turn.due], taken),
            *_share([turn for turn in found if turn.part == CONDUCT], taken),
        ),
        (*_share(bench.scripts, taken),),
    )
    record = EvaluatedDataset(
        BENCH,
        SPLIT,
        kept,
        len(samples),
        revision=bench.version,
        dropped=dropped,
        all_samples=len(dialogues),
        sha256=_sha256(bench, samples),
    )
    return samples, record, asked


def next_turn(script: Script, row: int, replies: Sequence[str]) -> Sample | None:
    """What the scripted user writes after these replies of the model, with all that was said
    before, as a sample of that row; None at the script's end."""
    done = len(replies)
    if done == len(script.turns):
        return None
    messages = [{"role": "system", "content": SYSTEM_PROMPT}]
    for place in range(done + 1):
        messages.append({"role": "user", "content": user_turn(script, replies[:place])})
        if place < done:
            messages.append({"role": "assistant", "content": replies[place]})
    return Sample(f"{script.id}#{done + 1}", script.id, row, messages, "")


def user_turn(script: Script, replies: Sequence[str]) -> str:
    """The user's text after these replies: of the first branch whose rule holds, else the turn's
    own."""
    turn = script.turns[len(replies)]
    return next((b.user for b in turn.branches if holds(b.rule, replies)), turn.user)


def _row(own: Sequence[Turn]) -> dict[str, Any]:
    """One dialogue as a dataset has it, with the first reference replies."""
    last = own[-1]
    messages = [*last.input, {"role": "assistant", "content": last.targets[0]}]
    return {"dialogue_id": last.item, "messages": messages, "emotion_major": last.emotion}


def _share(items: Sequence[Item], taken: float) -> list[Item]:
    """As many as the share, rounded up, at even distances."""
    count = math.ceil(taken * len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _sha256(bench: Benchmark, samples: Sequence[Sample]) -> str:
    """SHA-256 of the benchmark's sums and of which samples were taken."""
    taken = [sample.id for sample in samples]
    return hashlib.sha256(json.dumps([bench.sha256, taken]).encode()).hexdigest()
