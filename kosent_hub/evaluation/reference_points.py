"""Reference points: what texts score that were made without understanding the conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kosent_hub import metrics
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import SentenceEncoder
from kosent_hub.metrics import Measure, Reference
from kosent_hub.metrics.kosent_score.overlap import OVERLAP
from kosent_hub.models.machine.parallel import mapped
from model_card.metrics import METRICS
from model_card.records import Group, Value, finite

SHUFFLES = 20
# Of more samples than these, as many are drawn.
MOST_SAMPLES = 2000
# For as many samples the draws are scored faster in one process.
FEW_SAMPLES = 200


def reference_points(
    samples: Sequence[Sample], usual: str | None, encoder: SentenceEncoder | None, seed: int
) -> dict[str, Group]:
    """The scores of other dialogues' replies, the user's own words, and the most usual reply.

    All are of the same samples, MOST_SAMPLES at most, drawn with the seed. `shuffled` are the true
    replies, each under another dialogue's prompt: means and ranges of SHUFFLES draws; it is left
    out where one dialogue has more than half of the samples, `constant` where `usual` is None.
    """
    rng = np.random.default_rng(seed)
    if len(samples) > MOST_SAMPLES:
        chosen = rng.choice(len(samples), MOST_SAMPLES, replace=False)
        samples = [samples[i] for i in sorted(chosen)]
    targets = metrics.nfc([sample.target for sample in samples])
    references = [sample.reference for sample in samples]
    vectors = encode_references(references, encoder) if encoder else None
    texts = {"copy_user": metrics.nfc([sample.user for sample in samples])}
    if usual is not None:
        texts["constant"] = [usual] * len(samples)
    rows = np.asarray([sample.row for sample in samples])
    found = {}
    if 2 * np.unique(rows, return_counts=True)[1].max() <= len(samples):
        orders = [_derangement(rows, rng) for _ in range(SHUFFLES)]
        found["shuffled"] = _shuffled(targets, references, vectors, orders, encoder)
    for name, replies in texts.items():
        measures = metrics.measure_texts(replies, references)
        if encoder and vectors is not None:
            different, places = np.unique(replies, return_inverse=True)
            theirs = encoder.encode(different.tolist())[places]
            measures["cosine_similarity"] = metrics.cosine_similarity(
                theirs, vectors, encoder.signature
            )
        found[name] = Group(len(samples), _values(measures))
    return found


def encode_references(references: Sequence[Reference], encoder: SentenceEncoder) -> np.ndarray:
    """The true replies' vectors (n, d), or of samples that have k of them each (k, n, d)."""
    several = [[one] if isinstance(one, str) else one for one in references]
    streams = [encoder.encode(metrics.nfc(stream)) for stream in zip(*several, strict=True)]
    return streams[0] if len(streams) == 1 else np.stack(streams)


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


def _shuffled(
    targets: Sequence[str],
    references: Sequence[Reference],
    vectors: np.ndarray | None,
    orders: Sequence[np.ndarray],
    encoder: SentenceEncoder | None,
) -> Group:
    """The mean and the range of the true replies' scores in these orders."""
    jobs = [([targets[i] for i in order], references) for order in orders]
    fewest = 2 if len(targets) > FEW_SAMPLES else len(jobs) + 1
    drawn: dict[str, list[float]] = {}
    for order, values in zip(orders, mapped(_overlap, jobs, fewest), strict=True):
        if encoder and vectors is not None:
            first = vectors if vectors.ndim == 2 else vectors[0]
            cosine = metrics.cosine_similarity(first[order], vectors, encoder.signature)
            values["cosine_similarity"] = cosine.value
        for name, value in values.items():
            drawn.setdefault(name, []).append(value)
    # The form of replies does not depend on their order.
    form = _values(metrics.measure_texts(targets, references))
    means = {name: Value(float(np.mean(v)), range=[min(v), max(v)]) for name, v in drawn.items()}
    return Group(len(targets), form | means, draws=len(orders))


def _overlap(replies: Sequence[str], targets: Sequence[Reference]) -> dict[str, float]:
    """The values of the metrics that depend on which reply stands where."""
    return {
        name: score(replies, targets).value
        for name, score in OVERLAP.items()
        if not METRICS[name].record_only
    }


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


def _values(measures: Mapping[str, Measure]) -> dict[str, Value]:
    return {name: Value(finite(measures[name].value)) for name in METRICS if name in measures}
