"""Training: recipe, checks before the first step, plan, trainer, run folder and its record.

from kosent_hub.training import PlanOptions, plan, train

plan(PlanOptions("llama-3.1-8b/qlora-24gb", gpu="RTX 4090")).fits
train("smollm2-135m/cpu", dataset_name="dataset", max_steps=10).training.final
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kosent_hub.training.planning.plan import Plan, PlanOptions, plan
    from kosent_hub.training.run import train

__all__ = ["Plan", "PlanOptions", "plan", "train"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: --help and plans need none of the trainer's libraries.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "train":
        from kosent_hub.training.run import train

        return train
    from kosent_hub.training.planning import plan as planning

    return getattr(planning, name)
