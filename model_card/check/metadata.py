"""Checks of a card's metadata: whether it is there, is valid, and fits the repo's files."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator

import yaml

from model_card.check.card import ERROR, WARNING, CheckedCard, Finding
from model_card.facts import ADAPTER, QUANTIZED
from model_card.facts import relation as relation_of
from model_card.licenses import LICENSE_IDS
from model_card.publishing.front_matter import load
from model_card.publishing.hub_ids import is_hub_id

RELATIONS = ("adapter", "finetune", "merge", "quantized")
# Those of which the Hub makes something.
KEYS = (
    *("language", "license", "license_name", "license_link", "library_name", "pipeline_tag"),
    *("base_model", "base_model_relation", "new_version", "datasets", "metrics", "tags"),
    *("model-index", "model_name", "widget", "inference", "thumbnail", "co2_eq_emissions"),
    *("extra_gated_prompt", "extra_gated_fields", "extra_gated_heading"),
    *("extra_gated_description", "extra_gated_button_content", "extra_gated_eu_disallowed"),
)
RENDER = "write it, or let `kosent-card push` do it from the records"


def check_yaml(card: CheckedCard) -> Iterator[Finding]:
    """Whether there is metadata, and whether it can be read."""
    if not card.front.strip():
        yield Finding(1, ERROR, "metadata-missing", "no metadata between --- lines", RENDER)
        return
    try:
        data = load(card.front)
        root = yaml.compose(card.front, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        line = mark.line + 2 if mark else 1
        yield Finding(line, ERROR, "metadata-invalid", f"not valid YAML: {problem}", "fix it")
        return
    if not isinstance(data, dict) or not isinstance(root, yaml.MappingNode):
        yield Finding(2, ERROR, "metadata-invalid", "not `key: value` lines", "fix it")
        return
    seen: set[str] = set()
    for node, _ in root.value:
        line = node.start_mark.line + 2
        if node.value in seen:
            message = f"{node.value} stands there twice; the Hub refuses that"
            yield Finding(line, ERROR, "metadata-twice", message, "keep one of them")
        seen.add(node.value)
        close = difflib.get_close_matches(str(node.value).lower(), KEYS, n=1, cutoff=0.72)
        if close and node.value not in KEYS:
            message = f"unknown key {node.value!r}"
            yield Finding(line, WARNING, "metadata-key", message, f"did you mean {close[0]}?")


def check_complete(card: CheckedCard) -> Iterator[Finding]:
    """The keys by which the Hub finds, filters and runs a model."""
    if not card.data:
        return
    wanted = {
        "license": (ERROR, "nobody may use a model without knowing its licence"),
        "language": (WARNING, "the Hub cannot list it by language"),
        "library_name": (WARNING, "the Hub cannot show how to load it"),
        "pipeline_tag": (WARNING, "the Hub cannot tell what it does"),
    }
    derived = _is_adapter(card) or card.facts.run is not None
    if derived or card.first(r"(?i)fine-?tuned (version )?(of|from)|미세\s?조정"):
        wanted["base_model"] = (ERROR, "the Hub cannot link it to its base model")
    run = card.facts.run
    if run is not None and not run.dataset.local:
        wanted["datasets"] = (WARNING, f"it was trained on {run.dataset.id}")
    for key, (level, why) in wanted.items():
        if not card.values(key):
            yield Finding(1, level, f"{key}-missing", f"no {key}: {why}", RENDER)


def check_values(card: CheckedCard) -> Iterator[Finding]:
    """Values that the Hub does not take."""
    for value in card.values("license"):
        if value not in LICENSE_IDS:
            yield Finding(
                card.line_of("license"),
                ERROR,
                "license-unknown",
                f"{value!r} is not a licence id of the Hub",
                "use its id, or `other` with license_name and license_link",
            )
        elif value == "other" and not card.values("license_name"):
            yield Finding(
                card.line_of("license"),
                ERROR,
                "license-nameless",
                "license: other says nothing by itself",
                "add license_name and license_link",
            )
    for value in card.values("language"):
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]{2,4})?|code|multilingual", str(value)):
            message = f"{value!r} is not an ISO 639 code"
            yield Finding(card.line_of("language"), ERROR, "language-code", message, "use e.g. ko")
        elif value == "kr":
            message = "kr is Kanuri, a language of the Sahara"
            yield Finding(
                card.line_of("language"), WARNING, "language-code", message, "Korean is ko"
            )
    for key in ("base_model", "new_version", "datasets"):
        for value in card.values(key):
            if not is_hub_id(str(value)):
                message = f"{value!r} is no id on the Hub"
                remedy = "use ORG/NAME; leave a local folder out"
                yield Finding(card.line_of(key), ERROR, f"{key}-id", message, remedy)
    if card.name in card.values("new_version"):
        message = "new_version names this repo itself"
        remedy = "name the newer model's repo, or take the key out"
        yield Finding(card.line_of("new_version"), ERROR, "new_version-itself", message, remedy)
    if len(re.findall(r"[가-힣]", card.body)) > 200 and "ko" not in card.values("language"):
        message = "the card is in Korean, but language does not name ko"
        yield Finding(card.line_of("language"), WARNING, "language-ko", message, "add ko")


def check_relation(card: CheckedCard) -> Iterator[Finding]:
    """`base_model` and `base_model_relation` against the files in the repo."""
    stated = card.data.get("base_model_relation")
    line = card.line_of("base_model_relation")
    if stated is not None and stated not in RELATIONS:
        remedy = f"use one of {', '.join(RELATIONS)}"
        yield Finding(line, ERROR, "relation-unknown", f"{stated!r} is no relation", remedy)
        return
    weights = (".safetensors", ".bin", ".gguf", "adapter_config.json")
    files = card.paths or frozenset()
    if not card.values("base_model") or not any(path.endswith(weights) for path in files):
        return
    config = card.read("config.json") or b"" if "config.json" in files else b""
    actual = relation_of(files, config.decode("utf-8", "replace"), card.facts.run)
    if stated is None:
        message = f"base_model_relation is not stated; the files look like {actual}"
        line = card.line_of("base_model")
        yield Finding(line, WARNING, "relation-missing", message, f"add it: {actual}")
    elif stated != actual and {stated, actual} & {ADAPTER, QUANTIZED}:
        message = f"says {stated}, but the files are those of {actual}"
        yield Finding(line, ERROR, "relation-wrong", message, f"say {actual}")
    if not _is_adapter(card):
        return
    library = card.data.get("library_name")
    if library is not None and library != "peft":
        message = f"library_name is {library}, but this is an adapter: its snippet will not load it"
        yield Finding(card.line_of("library_name"), ERROR, "library-wrong", message, "say peft")
    try:
        base = json.loads(card.read("adapter_config.json") or b"{}").get("base_model_name_or_path")
    except (ValueError, AttributeError, RecursionError):
        return
    if isinstance(base, str) and base not in card.values("base_model"):
        message = f"adapter_config.json was made for {base!r}, base_model says otherwise"
        remedy = "name the model that the adapter loads onto, in both"
        yield Finding(card.line_of("base_model"), ERROR, "base_model-differs", message, remedy)


def check_model_index(card: CheckedCard) -> Iterator[Finding]:
    """Whether `model-index` can be read, and whether its scores can be compared with anything."""
    from huggingface_hub import ModelCardData

    index = card.data.get("model-index")
    if index is None:
        return
    line = card.line_of("model-index")
    try:
        results = ModelCardData(**{"model-index": index}).eval_results or []
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        message = f"model-index cannot be read: {' '.join(str(error).split())[:120]}"
        remedy = "give each result task, dataset and metrics"
        yield Finding(line, ERROR, "model-index-invalid", message, remedy)
        return
    vague = sorted({r.dataset_name for r in results if not r.dataset_split})
    if vague:
        message = f"scores on {', '.join(map(str, vague))} do not say on which split"
        yield Finding(line, WARNING, "score-split", message, "add dataset.split")


def _is_adapter(card: CheckedCard) -> bool:
    return card.paths is not None and "adapter_config.json" in card.paths
