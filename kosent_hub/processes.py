"""This process among those that `accelerate launch` started."""

from __future__ import annotations

import os


def rank() -> int:
    """This process's number, 0 for the one that scores and writes."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes share the work."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait() -> None:
    """Return once all processes have come here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
