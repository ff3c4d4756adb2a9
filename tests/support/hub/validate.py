"""The Hub's checks of card metadata (`/api/validate-yaml`) and of `.eval_results/*.yaml`.

An approximation, on the strict side: it refuses what the Hub is known to refuse (local paths,
null configs, unlisted licences), in words close to the Hub's. Returned as (errors, warnings):
a card with an error is refused, at validation and again when it is committed.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import yaml

from tests.support.hub.words import LICENSES, PIPELINES, SIZES

RELATIONS = frozenset({"adapter", "merge", "quantized", "finetune"})
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]{4})?|code|multilingual")

Found = list[str]


def front_matter(text: str) -> Any:
    """What the YAML block at the head of a card says, None without one."""
    found = re.match(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(\r?\n)?---[ \t]*(\r?\n|\Z)", text, re.S)
    return yaml.safe_load(found.group(1)) if found else None


def check_card(text: str, repo_type: str) -> tuple[Found, Found]:
    """Errors and warnings of a README.md."""
    try:
        data = front_matter(text)
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {' '.join(str(error).split())}"], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ["YAML Metadata Error: must be a mapping"], []
    errors = _common(data)
    if repo_type == "model":
        errors += _model(data)
    elif repo_type == "dataset":
        errors += _dataset(data)
    return errors, []


def check_eval_results(text: str) -> Found:
    """Errors of one `.eval_results/*.yaml`."""
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"not YAML: {' '.join(str(error).split())}"]
    if not isinstance(entries, list) or not entries:
        return ["must be a list of results"]
    errors: Found = []
    tasks: list[tuple[Any, Any]] = []
    for number, entry in enumerate(entries):
        errors += _eval_entry(f"[{number}]", entry)
        if isinstance(entry, dict) and isinstance(entry.get("dataset"), dict):
            tasks.append((entry["dataset"].get("id"), entry["dataset"].get("task_id")))
    doubled = {task for task in tasks if tasks.count(task) > 1}
    return errors + [f"{name}: more than one value for task {task}" for name, task in doubled]


def _eval_entry(place: str, entry: Any) -> Found:
    if not isinstance(entry, dict):
        return [f"{place} must be an object"]
    errors: Found = []
    unknown = set(entry) - {"dataset", "value", "verifyToken", "date", "source", "notes"}
    errors += [f"{place}.{key} is not allowed" for key in sorted(unknown)]
    dataset = entry.get("dataset")
    if not isinstance(dataset, dict):
        errors.append(f"{place}.dataset is required")
    else:
        errors += [
            f"{place}.dataset.{key} is not allowed"
            for key in sorted(set(dataset) - {"id", "task_id", "revision"})
        ]
        if not _is_id(dataset.get("id"), namespace=True):
            errors.append(f"{place}.dataset.id must be the id of a dataset on the Hub")
        errors += _strings(f"{place}.dataset", dataset, required=("task_id",), also=("revision",))
    if entry.get("value") is None or isinstance(entry["value"], bool):
        errors.append(f"{place}.value is required")
    when = entry.get("date")
    if when is not None and not isinstance(when, date | datetime) and not _is_time(when):
        errors.append(f"{place}.date must be an ISO-8601 date")
    source = entry.get("source")
    if source is not None:
        if not isinstance(source, dict) or not _is_link(source.get("url")):
            errors.append(f"{place}.source.url is required")
        else:
            errors += _strings(f"{place}.source", source, also=("name", "user", "org"))
    return errors + _strings(place, entry, also=("notes", "verifyToken"))


def _common(data: dict[str, Any]) -> Found:
    errors: Found = []
    for place, value in _items(data, "language"):
        if not isinstance(value, str) or not LANGUAGE.fullmatch(value):
            errors.append(
                f'"{place}" with value "{value}" is not valid. It must be an ISO 639-1, 639-2 or '
                '639-3 code (two/three letters), or a special value like "code", "multilingual".'
            )
    for place, value in _items(data, "license"):
        if value not in LICENSES:
            errors.append(f'"{place}" must be one of [{", ".join(sorted(LICENSES))}]')
    errors += _strings("", data, also=("license_name", "license_link", "pretty_name"))
    for place, value in _items(data, "tags"):
        if not isinstance(value, str):
            errors.append(f'"{place}" must be a string')
    return errors


def _model(data: dict[str, Any]) -> Found:
    errors: Found = []
    for key, kind in (("base_model", "model"), ("new_version", "model"), ("datasets", "dataset")):
        for place, value in _items(data, key):
            if not _is_id(value):
                errors.append(
                    f'"{place}" with value "{value}" is not valid. '
                    f"Use a {kind} id from https://hf.co/{kind}s."
                )
    if data.get("base_model_relation", "adapter") not in RELATIONS:
        errors.append(f'"base_model_relation" must be one of [{", ".join(sorted(RELATIONS))}]')
    if "pipeline_tag" in data and data["pipeline_tag"] not in PIPELINES:
        errors.append(f'"pipeline_tag" must be one of [{", ".join(sorted(PIPELINES))}]')
    errors += _strings("", data, also=("library_name",))
    for place, value in _items(data, "metrics"):
        if not isinstance(value, str):
            errors.append(f'"{place}" must be a string')
    if "model-index" in data:
        errors += _model_index(data["model-index"])
    return errors


def _model_index(index: Any) -> Found:
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    errors: Found = []
    for i, model in enumerate(index):
        place = f"model-index[{i}]"
        if not isinstance(model, dict):
            errors.append(f'"{place}" must be an object')
            continue
        errors += _strings(place, model, required=("name",))
        results = model.get("results")
        if not isinstance(results, list):
            errors.append(f'"{place}.results" must be an array')
            continue
        for j, result in enumerate(results):
            errors += _result(f"{place}.results[{j}]", result)
    return errors


def _result(place: str, result: Any) -> Found:
    if not isinstance(result, dict):
        return [f'"{place}" must be an object']
    errors: Found = []
    for key, required, also in (
        ("task", ("type",), ("name",)),
        ("dataset", ("type", "name"), ("config", "split", "revision")),
        ("source", ("url",), ("name",)),
    ):
        part = result.get(key)
        if part is None and key == "source" and key not in result:
            continue
        if not isinstance(part, dict):
            errors.append(f'"{place}.{key}" is required')
            continue
        errors += _strings(f"{place}.{key}", part, required=required, also=also)
        if key == "dataset" and isinstance(part.get("type"), str) and not _is_id(part["type"]):
            errors.append(f'"{place}.dataset.type" must be a dataset id, not a path')
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        return [*errors, f'"{place}.metrics" is required']
    for k, metric in enumerate(metrics):
        spot = f"{place}.metrics[{k}]"
        if not isinstance(metric, dict):
            errors.append(f'"{spot}" must be an object')
            continue
        errors += _strings(spot, metric, required=("type",), also=("name", "config"))
        if metric.get("value") is None:
            errors.append(f'"{spot}.value" is required')
    return errors


def _dataset(data: dict[str, Any]) -> Found:
    errors: Found = []
    for place, value in _items(data, "size_categories"):
        if value not in SIZES:
            errors.append(f'"{place}" must be one of [{", ".join(sorted(SIZES))}]')
    for place, value in _items(data, "task_categories"):
        if value not in PIPELINES:
            errors.append(f'"{place}" must be one of [{", ".join(sorted(PIPELINES))}]')
    configs = data.get("configs", [])
    if not isinstance(configs, list):
        return [*errors, '"configs" must be an array']
    for i, config in enumerate(configs):
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            errors.append(f'"configs[{i}].config_name" is required')
        elif "data_files" not in config and "data_dir" not in config:
            errors.append(f'"configs[{i}]" needs "data_files" or "data_dir"')
    if "dataset_info" in data and not isinstance(data["dataset_info"], dict | list):
        errors.append('"dataset_info" must be an object or an array')
    if "extra_gated_fields" in data and not isinstance(data["extra_gated_fields"], dict):
        errors.append('"extra_gated_fields" must be an object')
    return errors + _strings("", data, also=("extra_gated_prompt", "extra_gated_heading"))


def _items(data: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    """The values of a key that holds one or many, each with its place. An absent key has none."""
    if key not in data:
        return []
    value = data[key]
    if isinstance(value, list):
        return [(f"{key}[{number}]", item) for number, item in enumerate(value)]
    return [(key, value)]


def _strings(
    place: str, data: dict[str, Any], required: tuple[str, ...] = (), also: tuple[str, ...] = ()
) -> Found:
    """Errors of keys that must be (`required`), or be if there (`also`), text and not null."""
    dot = f"{place}." if place else ""
    errors = [f'"{dot}{key}" is required' for key in required if key not in data]
    for key in (*required, *also):
        if key in data and (not isinstance(data[key], str) or not data[key]):
            errors.append(f'"{dot}{key}" must be a string')
    return errors


def _is_id(value: Any, namespace: bool = False) -> bool:
    """Whether this reads like `name` or `namespace/name` on the Hub, and not like a path."""
    if not isinstance(value, str) or not REPO_ID.fullmatch(value) or len(value) > 96:
        return False
    if "--" in value or ".." in value or value.endswith(("-", ".")):
        return False
    return "/" in value or not namespace


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _is_time(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
