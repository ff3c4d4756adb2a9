"""Evaluation: samples, replies, scores, and the engines that reply.

from kosent_hub.evaluation import Options, evaluate
results = evaluate(Options(model="ORG/MODEL", dataset="ORG/DATASET", limit=64))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kosent_hub.evaluation.options import Options
    from kosent_hub.evaluation.run import evaluate

__all__ = ["Options", "evaluate"]


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: `evaluate` needs torch.
    if name == "Options":
        from kosent_hub.evaluation.options import Options

        return Options
    if name == "evaluate":
        from kosent_hub.evaluation.run import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
