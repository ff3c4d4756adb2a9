"""What tells one evaluation of a model on a split from another: options not left at their defaults.

The commits that are read are no settings: the same command, given again, is the same evaluation.
Nor is what it is compared with, where that is the model's own base.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kosent_hub.collect import Outcome
from kosent_hub.embedder import PACKAGED
from kosent_hub.model import resolve

OPTIONS = (
    "revision", "dataset_revision", "limit", "safety", "backend", "engine_arg", "embedder",
    "max_new_tokens", "dtype", "chat_template", "seed",
)  # fmt: skip


def settings(args: argparse.Namespace, default: Callable[[str], Any]) -> dict[str, Any]:
    """The options that bear on scores and differ from their `default`, as a card may show them."""
    given = vars(args)
    found = {name: given[name] for name in OPTIONS if given[name] != default(name)}
    if args.safety == (args.limit is None):
        found.pop("safety", None)  # what was asked for would have happened anyway
    if args.embedder not in ("none", PACKAGED) and "embedder" in found:
        found["embedder"] = resolve(args.embedder).id
    if "chat_template" in found:
        text = Path(args.chat_template).read_bytes()
        found["chat_template"] = hashlib.sha256(text).hexdigest()[:12]
    if "engine_arg" in found:
        found["engine_arg"] = dict(args.engine_arg)
    return found


def with_baseline(given: dict[str, Any], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The settings, and the baseline if it is another than the model's own base."""
    if len(outcomes) < 2 or outcomes[1].model.id == outcomes[0].model.base_model:
        return given
    return given | {"baseline": outcomes[1].model.id}
