"""This process among those that `accelerate launch` or `torchrun` started."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from model_card.publishing.files import exclusive


def rank() -> int:
    """This process's number, 0 for the one that scores and writes."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes share the work."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def holding(folder: Path, command: str) -> AbstractContextManager[None]:
    """The folder held against other commands, by the first process for all of them."""
    return exclusive(folder, command) if rank() == 0 else nullcontext()


def begin() -> None:
    """Find the other processes, and this one's GPU; a process alone has nothing to find."""
    from kosent_hub.models.device import use_all_cores

    use_all_cores()
    wait()


def wait() -> None:
    """Return once all processes have come here."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
