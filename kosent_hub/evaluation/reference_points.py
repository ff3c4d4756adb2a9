"""Reference points: what texts score that were made without understanding the conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kosent_hub import metrics
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import SentenceEncoder
from kosent_hub.metrics import Measure
from kosent_hub.metrics.kosent_score.overlap import OVERLAP
from model_card.metrics import METRICS
from model_card.records import Group, Value, finite

SHUFFLES = 20
# Of more samples than these, as many are drawn for the shuffles.
SHUFFLED_SAMPLES = 2000


def usual_reply(rows: Any) -> str | None:
    """The most usual reply of the training dialogues; of equally usual ones the first in order."""
    import pyarrow.compute as pc

    found: Counter[str] = Counter()
    for chunk in rows.data.column("messages").chunks:
        messages = chunk.flatten()
        replies = messages.field("content").filter(pc.equal(messages.field("role"), "assistant"))
        for reply in replies.to_pylist():
            if isinstance(reply, str) and reply.strip():
                found[reply] += 1
    most = max(found.values(), default=0)
    return min((reply for reply, times in found.items() if times == most), default=None)


def shuffled(samples: Sequence[Sample], encoder: SentenceEncoder | None, seed: int) -> Group | None:
    """The true replies, each under another dialogue's prompt: means and ranges of SHUFFLES draws.

    Of SHUFFLED_SAMPLES samples at most, drawn with the seed. None where one dialogue has more than
    half of the samples, so that there is no such order.
    """
    rng = np.random.default_rng(seed)
    if len(samples) > SHUFFLED_SAMPLES:
        chosen = rng.choice(len(samples), SHUFFLED_SAMPLES, replace=False)
        samples = [samples[i] for i in sorted(chosen)]
    rows = np.asarray([sample.row for sample in samples])
    _, sizes = np.unique(rows, return_counts=True)
    if 2 * sizes.max() > len(samples):
        return None
    targets = metrics.nfc([sample.target for sample in samples])
    vectors = encoder.encode(targets) if encoder else None
    drawn: dict[str, list[float]] = {}
    for _ in range(SHUFFLES):
        order = _derangement(rows, rng)
        replies = [targets[i] for i in order]
        measures = {name: score(replies, targets) for name, score in OVERLAP.items()}
        if encoder and vectors is not None:
            measures["cosine_similarity"] = metrics.cosine_similarity(
                vectors[order], vectors, encoder.signature
            )
        for name, measure in measures.items():
            drawn.setdefault(name, []).append(measure.value)
    values = {name: Value(float(np.mean(v)), range=[min(v), max(v)]) for name, v in drawn.items()}
    # The form of replies does not depend on their order.
    form = point(metrics.measure_texts(targets, targets)).metrics
    values |= {name: value for name, value in form.items() if name not in values}
    return Group(len(samples), values, draws=SHUFFLES)


def _derangement(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each sample another's place, of another row; every place once.

    With the dialogues in random order in a circle, all replies move on by as many places as no
    dialogue is long.
    """
    _, numbers, sizes = np.unique(rows, return_inverse=True, return_counts=True)
    circle = np.argsort(rng.permutation(len(sizes))[numbers], kind="stable")
    longest = sizes.max()
    order = np.empty(len(rows), dtype=np.int64)
    order[circle] = np.roll(circle, int(rng.integers(longest, len(rows) - longest + 1)))
    return order


def point(measures: Mapping[str, Measure]) -> Group:
    """The reference point of texts with these measures."""
    values = {name: Value(finite(measures[name].value)) for name in METRICS if name in measures}
    return Group(len(next(iter(measures.values())).rows), values)
