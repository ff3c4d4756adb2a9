"""What tells one evaluation of a model on a split from another: options not left at their defaults.

The commits that are read are no settings: the same command, given again, is the same evaluation.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.replies import Outcome
from kosent_hub.models.repo import resolve

OPTIONS = (
    "revision", "baseline", "dataset_revision", "limit", "safety", "backend", "engine_arg",
    "embedder", "max_new_tokens", "dtype", "chat_template", "seed",
)  # fmt: skip


def settings(args: argparse.Namespace, default: Callable[[str], Any]) -> dict[str, Any]:
    """The options that bear on scores and differ from their `default`, as a card may show them."""
    given = vars(args)
    found = {name: given[name] for name in OPTIONS if given[name] != default(name)}
    if args.safety == (args.limit is None):
        found.pop("safety", None)  # what was asked for would have happened anyway
    for name in {"baseline", "embedder"} & found.keys():
        found[name] = _name(found[name])
    if "chat_template" in found:
        text = Path(args.chat_template).read_bytes()
        found["chat_template"] = hashlib.sha256(text).hexdigest()[:12]
    if "engine_arg" in found:
        found["engine_arg"] = dict(args.engine_arg)
    return found


def _name(model: str) -> str:
    """A model's Hub id, or its folder's name without the path to it."""
    return resolve(model).id if Path(model).is_dir() else model


def for_record(given: dict[str, Any], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The settings without a baseline that is the model's own base: that is the usual one."""
    if len(outcomes) < 2 or outcomes[1].model.id != outcomes[0].model.base_model:
        return given
    return {name: value for name, value in given.items() if name != "baseline"}
