"""All that would fail after an hour, found in the first seconds and said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kosent_hub.errors import KoSentError

if TYPE_CHECKING:
    from kosent_hub.recipe import Settings


def check(settings: Settings) -> None:
    """Raise one KoSentError with every problem and its remedy, if there is one."""
    problems = []
    if not settings.dataset_id:
        problems.append(
            "no dataset: add --dataset_name with a folder that kosent-data built, or a Hub id"
        )
    if not settings.model_id:
        problems.append("no base model: add --model_name_or_path")
    if not settings.model.use_peft:
        problems.append("use_peft is false, and this trains adapters: set use_peft: true")
    if problems:
        raise KoSentError("; ".join(problems))
