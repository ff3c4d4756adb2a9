"""Evaluation: samples, replies, scores, and the engines that reply.

from kosent_hub.evaluation import Options, compare, evaluate
results = evaluate(Options(model="ORG/MODEL", dataset="ORG/DATASET", limit=64))
comparison = compare(["kosent-eval/FOLDER", "kosent-eval/OTHER-FOLDER"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kosent_hub.evaluation.comparing import compare
    from kosent_hub.evaluation.options import Options
    from kosent_hub.evaluation.run import evaluate

__all__ = ["Options", "compare", "evaluate"]


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: `evaluate` needs torch.
    if name == "Options":
        from kosent_hub.evaluation.options import Options

        return Options
    if name == "evaluate":
        from kosent_hub.evaluation.run import evaluate

        return evaluate
    if name == "compare":
        from kosent_hub.evaluation.comparing import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
