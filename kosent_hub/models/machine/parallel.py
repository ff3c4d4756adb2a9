"""Work that Python does on one core, done on all cores that this process has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from kosent_hub.models.machine import device

Result = TypeVar("Result")


def mapped(
    function: Callable[..., Result], jobs: Sequence[Sequence[Any]], fewest: int
) -> Iterator[Result]:
    """The function's result for the arguments of each job, in order, from forked processes.

    Fewer jobs than `fewest` are done in this process, and so are all where Linux's fork is missing.
    """
    forks = sys.platform == "linux" and hasattr(os, "fork")
    processes = min(device.cores(), len(jobs)) if forks else 1
    if processes < 2 or len(jobs) < fewest:
        yield from (function(*job) for job in jobs)
        return
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        yield from pool.map(function, *zip(*jobs, strict=True), chunksize=1)
