"""What the Hub reads out of a repository's own files: card metadata, tags, scores."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.hub.store import Commit, Repo
from tests.support.hub.validate import check_eval_results, front_matter


def describe(repo: Repo, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
    """The JSON of `/api/models/ID` and its like."""
    card = card_data(commit)
    info: dict[str, Any] = {
        "_id": repo.id,
        "id": repo.id,
        "author": repo.owner,
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": _tags(card),
        "siblings": [_sibling(path, blob, blobs) for path, blob in commit.tree.items()],
        "usedStorage": sum({b.oid: b.size for b in commit.tree.values()}.values()),
    }
    if card is not None:
        info["cardData"] = card
    if repo.type == "model":
        info |= {"modelId": repo.id, "spaces": []}
        for key in ("pipeline_tag", "library_name", "model-index"):
            if card and key in card:
                info[key] = card[key]
    if repo.type == "space":
        info["sdk"] = (card or {}).get("sdk", "static")
    return info


def describe_more(repo: Repo, commit: Commit) -> dict[str, Any]:
    """What only `expand` shows."""
    card = card_data(commit) or {}
    base = card.get("base_model") or []
    return {
        "cardData": card_data(commit),
        "model-index": card.get("model-index"),
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "baseModels": {
            "relation": card.get("base_model_relation", "finetune"),
            "models": [{"id": name} for name in ([base] if isinstance(base, str) else base)],
        },
        "evalResults": eval_results(commit),
        "downloadsAllTime": 0,
        "trendingScore": 0,
        "resourceGroup": None,
        "mainSize": sum(blob.size for blob in commit.tree.values()),
        "description": None,
        "citation": None,
        "paperswithcode_id": None,
    }


def card_data(commit: Commit) -> dict[str, Any] | None:
    """Front matter of README.md, None without one."""
    blob = commit.tree.get("README.md")
    if blob is None:
        return None
    try:
        data = front_matter(blob.read().decode("utf-8", "replace"))
    except yaml.YAMLError:
        return None
    return data if isinstance(data, dict) else None


def eval_results(commit: Commit) -> list[dict[str, Any]]:
    """Entries of `.eval_results/*.yaml`; a file that is not valid shows as its error."""
    shown: list[dict[str, Any]] = []
    for path, blob in commit.tree.items():
        if not (path.startswith(".eval_results/") and path.endswith((".yaml", ".yml"))):
            continue
        text = blob.read().decode("utf-8", "replace")
        errors = check_eval_results(text)
        if errors:
            shown.append({"filename": path, "error": "; ".join(errors)})
        else:
            shown += [{"filename": path, "data": entry} for entry in yaml.safe_load(text)]
    return shown


def _tags(card: dict[str, Any] | None) -> list[str]:
    card = card or {}
    tags = _list(card.get("tags"))
    for key in ("language", "license", "base_model", "datasets", "library_name", "pipeline_tag"):
        prefix = {"license": "license:", "base_model": "base_model:", "datasets": "dataset:"}
        tags += [f"{prefix.get(key, '')}{value}" for value in _list(card.get(key))]
    return list(dict.fromkeys([*tags, "region:us"]))


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _sibling(path: str, blob: Any, blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": path}
    if blobs:
        sibling |= {"size": blob.size, "blobId": blob.oid}
        if blob.sha256:
            sibling["lfs"] = {"size": blob.size, "sha256": blob.sha256, "pointerSize": 134}
    return sibling
