"""A record as Every Eval Ever has results of any harness: github.com/evaleval/every_eval_ever.

It has the model's scores and how they were made, no text of the dataset and no reply. Left out are
the baseline, whose own evaluation is another file, and metrics of which neither direction is the
better, since the format asks for one.
"""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

from model_card.metrics import METRICS
from model_card.records import Metric, Results

SCHEMA_VERSION = "0.3.0"
# Least and largest value of a unit, in the format's words where there is none.
BOUNDS: dict[str, tuple[float, float | str]] = {
    "0-100": (0, 100),
    "0-1": (0, 1),
    "share": (0, 1),
    "cosine": (-1, 1),
    "per token": (1, "Infinity"),
    "bits per byte": (0, "Infinity"),
}


def dumps(results: Results) -> str:
    """The record as text of a JSON file."""
    return json.dumps(every_eval_ever(results), ensure_ascii=False, indent=2) + "\n"


def every_eval_ever(results: Results) -> dict[str, Any]:
    """The record as a JSON object of the format's version SCHEMA_VERSION.

    Who ran an evaluation, and whether a model's weights are open, no record says: these are
    "unknown" or "other", for a person to fill in.
    """
    created = str(int(datetime.datetime.fromisoformat(results.created).timestamp()))
    run = f"{results.dataset.id}/{results.model.id}/{created}"
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": run,
        "evaluation_timestamp": created,
        "retrieved_timestamp": created,
        "source_metadata": {
            "source_name": "kosent-eval",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "kosent-hub",
            "version": str(results.code.get("version", "unknown")),
            "additional_details": _texts(
                {
                    "commit": results.code.get("commit"),
                    "task_version": results.task_version,
                    "libraries": results.versions,
                }
            ),
        },
        "model_info": _model(results),
        "evaluation_results": [
            _result(results, run, name, metric)
            for name, metric in results.metrics.items()
            if metric.value is not None
            and math.isfinite(metric.value)
            and metric.higher_is_better is not None
        ],
    }


def _model(results: Results) -> dict[str, Any]:
    model = results.model
    served = results.speed.backend == "endpoint"
    details = {
        "deployment_type": "unknown" if served else "self_deployed",
        "model_availability": "unknown",
        "revision": model.revision,
        "base_model": model.base_model,
        "base_revision": model.base_revision,
        "adapter": model.adapter,
        "dtype": model.dtype,
        "parameters": model.parameters,
        "weights_sha256": model.weights_sha256 or None,
    }
    found: dict[str, Any] = {"name": model.id, "id": model.id}
    if "/" in model.id and not model.local:
        found["developer"] = model.id.partition("/")[0]
    engine = {"name": results.speed.backend, "version": results.versions.get(results.speed.backend)}
    found["inference_engine"] = {key: value for key, value in engine.items() if value}
    return found | {"additional_details": _texts(details)}


def _result(results: Results, run: str, name: str, metric: Metric) -> dict[str, Any]:
    info = METRICS.get(name)
    config: dict[str, Any] = {
        "metric_id": f"kosent.{name}",
        "metric_unit": metric.unit,
        "lower_is_better": not metric.higher_is_better,
        "additional_details": {"signature": metric.signature},
    }
    if info is not None:
        config |= {"metric_name": info.en.text, "evaluation_description": info.en.meaning}
    if metric.unit in BOUNDS:
        low, high = BOUNDS[metric.unit]
        config |= {"score_type": "continuous", "min_score": low, "max_score": high}
    score: dict[str, Any] = {"score": metric.value}
    uncertainty: dict[str, Any] = {} if metric.n is None else {"num_samples": metric.n}
    if metric.ci95 is not None:
        low, high = metric.ci95
        uncertainty["confidence_interval"] = {"lower": low, "upper": high, "confidence_level": 0.95}
    if uncertainty:
        score["uncertainty"] = uncertainty
    if metric.range is not None:
        score["details"] = _texts({"range over seeds": metric.range})
    return {
        "evaluation_result_id": f"{run}#{name}",
        "evaluation_name": f"{results.dataset.id}, {results.dataset.split}",
        "source_data": _source(results),
        "metric_config": config,
        "score_details": score,
        "generation_config": _generation(results),
    }


def _source(results: Results) -> dict[str, Any]:
    dataset = results.dataset
    details = {
        "revision": dataset.revision,
        "sha256": dataset.sha256,
        "split": dataset.split,
        "samples": dataset.samples,
        "dialogues": dataset.dialogues,
    }
    found: dict[str, Any] = {"dataset_name": dataset.id, "source_type": "other"}
    if not dataset.local and not dataset.is_bench:
        found |= {
            "source_type": "hf_dataset",
            "hf_repo": dataset.id,
            "hf_split": dataset.split,
            "samples_number": dataset.samples,
        }
    return found | {"additional_details": _texts(details)}


def _generation(results: Results) -> dict[str, Any]:
    made = results.protocol.generation
    arguments = {"temperature": made.get("temperature"), "max_tokens": made.get("max_new_tokens")}
    others = {key: made[key] for key in made if key not in ("temperature", "max_new_tokens")}
    details = {
        "template_sha256": results.protocol.template_sha256,
        "few_shot": results.protocol.few_shot,
        "history": results.protocol.history,
        "settings": results.settings or None,
        **others,
    }
    return {
        "generation_args": {key: value for key, value in arguments.items() if value is not None},
        "additional_details": _texts(details),
    }


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """The values that there are, as the texts that the format wants."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in values.items()
        if value is not None
    }
