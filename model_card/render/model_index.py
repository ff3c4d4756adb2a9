"""Scores in the Hub's two machine-readable forms: `model-index`, and `.eval_results/*.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_card.metrics import EN, LEADERBOARD, metric_label
from model_card.publishing.front_matter import OUR_TASK, dump
from model_card.publishing.hub_ids import is_hub_id
from model_card.publishing.markdown import HUB, plain
from model_card.records import Metric, Results, eval_path
from model_card.render.numbers import format_settings

EVAL_RESULTS_PATH = ".eval_results/kosent.yaml"
SOURCE = "kosent-eval"
# Settings of an evaluation that are about other models, or about what computes the same replies.
SAME_SCORES = {
    *("baseline", "baseline_system_prompt", "primary_metric", "safety"),
    *("backend", "dtype"),
}


def model_index(results: Sequence[Results], name: str, repo_id: str | None) -> list[dict[str, Any]]:
    """The `model-index` of these results: an entry for each, every metric in it."""
    return [{"name": plain(name), "results": [_result(r, repo_id) for r in results]}]


def eval_results(results: Sequence[Results], repo_id: str) -> bytes | None:
    """`.eval_results/kosent.yaml`: a task id per metric; None if no result belongs there.

    The Hub sets these values beside those of other models, so they are of the whole test split of a
    dataset on the Hub, with the default settings (`SAME_SCORES` apart): what the tasks of its
    eval.yaml mean. A task holds one value, so of several evaluations those with the default
    settings count before others, then the newest. Metrics that a list of models could not be
    ordered by are left out.
    """
    chosen: dict[str, Results] = {}
    newest = sorted(results, key=lambda r: r.created, reverse=True)
    for r in sorted(newest, key=lambda r: bool(r.settings)):
        on_hub = not r.dataset.local and is_hub_id(r.dataset.id)
        if on_hub and r.dataset.split == "test" and r.settings.keys() <= SAME_SCORES:
            chosen.setdefault(r.dataset.id, r)
    entries = [
        {
            "dataset": {
                "id": r.dataset.id,
                "task_id": name,
                **({"revision": r.dataset.revision} if r.dataset.revision else {}),
            },
            "value": metric.value,
            "date": r.created,
            "source": {"url": _url(r, repo_id), "name": SOURCE},
            "notes": plain(_notes(r, metric)),
        }
        for r in chosen.values()
        for name, metric in r.metrics.items()
        if metric.value is not None and name in LEADERBOARD
    ]
    return dump(entries).encode() if entries else None


def _notes(results: Results, metric: Metric) -> str:
    data = results.dataset
    return f"{data.split} split, {data.samples} samples, {metric.signature}"


def _result(results: Results, repo_id: str | None) -> dict[str, Any]:
    # The Hub takes ids only; a folder's name may be anything.
    is_id = is_hub_id(results.dataset.id, owner_optional=True)
    name, settings = results.dataset.id.split("/")[-1], format_settings(results.settings)
    dataset = {
        "type": results.dataset.id if is_id else "local-dataset",
        "name": plain(f"{name} ({settings})" if settings else name),
        "split": plain(results.dataset.split),
    }
    if results.dataset.revision:
        dataset["revision"] = results.dataset.revision
    metrics = [
        {"type": plain(name), "value": metric.value, "name": metric_label(plain(name), EN).text}
        for name, metric in results.metrics.items()
        if metric.value is not None
    ]
    entry = {
        "task": {"type": "text-generation", "name": OUR_TASK},
        "dataset": dataset,
        "metrics": metrics,
    }
    if repo_id is not None:
        entry["source"] = {"name": SOURCE, "url": _url(results, repo_id)}
    return entry


def _url(results: Results, repo_id: str) -> str:
    return f"{HUB}/{repo_id}/blob/main/{eval_path(results)}"
