"""What a comparison of several models found: the document that `--json` prints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from kosent_hub.metrics.ranking import Rank, Wins
from model_card.records import Comparison, EvaluatedDataset, EvaluatedModel, Metric, finite

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ComparedModel:
    """One model: `name` tells it apart from the others.

    `few_shot` and `backend` are those of its evaluation, `settings` the options that were not left
    at their defaults. `ranks` are those of metrics that can be tested and that all models have.
    """

    name: str
    model: EvaluatedModel
    backend: str
    few_shot: int
    settings: dict[str, Any]
    metrics: dict[str, Metric]
    ranks: dict[str, Rank]


@dataclass(frozen=True)
class Pair:
    """Two models by name. Each of `tests` is of the first one's metric minus the second one's.

    `wins` are the dialogues of the primary metric. The first model is the one that ranks better in
    it.
    """

    first: str
    second: str
    tests: dict[str, Comparison]
    wins: Wins


@dataclass(frozen=True)
class ModelComparison:
    """Several models on the same samples, in the order in which they were given.

    `p_adjusted` of the `primary` metric is by Holm over all pairs; of the other metrics over all
    pairs and metrics. `clearly_best` names, by metric, the model that is better than each other one
    by these p values. `left_out` are per-token metrics, where models have different tokenizers.
    """

    dataset: EvaluatedDataset
    primary: str
    models: list[ComparedModel]
    pairs: list[Pair]
    clearly_best: dict[str, str]
    left_out: list[str]
    resampling: dict[str, Any]
    task_version: str
    versions: dict[str, str]
    schema_version: int = SCHEMA_VERSION


def dumps(comparison: ModelComparison) -> str:
    """The comparison as JSON text: two-space indent, Hangul unescaped, newline at the end."""
    document = finite(dataclasses.asdict(comparison))
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
