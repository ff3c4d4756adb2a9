"""The process group that `accelerate launch` or `torchrun` started, as this process sees it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from kosent_hub.models.machine.device import use_all_cores
from model_card.publishing.files import exclusive


def rank() -> int:
    """The rank of this process; the process of rank 0 scores and writes."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes in the group, 1 without a group."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """How many processes of the group are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def lock(folder: Path, command: str) -> AbstractContextManager[None]:
    """A lock on the folder against other commands, taken by rank 0 for the whole group."""
    return exclusive(folder, command) if rank() == 0 else nullcontext()


def join() -> None:
    """Join the process group, if there is one."""
    use_all_cores()
    wait()


def lost_another(error: RuntimeError) -> bool:
    """Whether the error says that another process of the group is gone or out of reach."""
    if world_size() == 1:
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo" in str(error).lower()


def wait() -> None:
    """Return once all processes of the group have called it."""
    if world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
