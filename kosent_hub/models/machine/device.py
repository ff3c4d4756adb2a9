"""This machine: its fast number format, attention kernel, cores, memory and name."""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def compute_dtype(use_cpu: bool) -> str:
    """The 16-bit format this device multiplies fast, else `float32`.

    NVIDIA GPUs have bfloat16 from capability 8.0; older ones emulate it slowly, though PyTorch
    counts it as supported, and get float16. Of CPUs, those with AVX512-BF16 or AMX do.
    """
    import torch

    if not use_cpu and torch.cuda.is_available():
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if fast else "float32"


def attention() -> str | None:
    """`flash_attention_2` where it is installed and the GPU has it (8.0 and up), else None:
    transformers takes `sdpa`, or `eager` for a model without that."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    if torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0):
        return "flash_attention_2" if is_flash_attn_2_available() else None
    return None


def cores() -> int:
    """How many cores this process may use: those it is bound to, and no more than the time that a
    container's limit gives it."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(found or 1, _container_cores()))


def _container_cores() -> int:
    """The cores that a control group's quota comes to; many where there is none."""
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    with suppress(OSError, ValueError):
        root = Path("/sys/fs/cgroup/cpu")
        quota = (root / "cpu.cfs_quota_us").read_text()
        period = (root / "cpu.cfs_period_us").read_text()
        if int(quota) > 0:
            return -(-int(quota) // int(period))
    return sys.maxsize


def use_all_cores() -> None:
    """Undo the one thread that `accelerate launch` gives a CPU process unless told otherwise."""
    import torch

    launched = "ACCELERATE_DYNAMO_BACKEND" in os.environ or "LOCAL_WORLD_SIZE" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS") == "1":
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, cores() // processes))


def name(use_cpu: bool) -> str:
    """The device's name: `NVIDIA A100-SXM4-80GB`, `AMD EPYC (2 cores)`."""
    import torch

    if not use_cpu and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    processor = capabilities.get("cpu_name") or platform.processor() or platform.machine()
    count = cores()
    return f"{processor} ({count} core{'s' if count > 1 else ''})"


def free_memory() -> int:
    """Bytes of this machine's memory that are free for a new program."""
    import psutil

    return psutil.virtual_memory().available


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU or the system had no memory left (on a CPU PyTorch only says so)."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def main_memory() -> int:
    """Bytes of this machine's main memory."""
    import psutil

    return psutil.virtual_memory().total


def memory() -> float:
    """Main memory and that of all GPUs together, in bytes."""
    import torch

    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return main_memory() + sum(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus)


def peak_memory_gib(use_cpu: bool) -> float:
    """Peak memory so far, in GiB: PyTorch's on a GPU, else this process's."""
    import torch

    if not use_cpu and torch.cuda.is_available():
        return round(torch.cuda.max_memory_reserved() / 2**30, 2)
    return round(peak_rss() / 2**30, 2)


def peak_rss() -> int:
    """Peak main memory of this process, in bytes.

    On Linux from /proc: getrusage may give the peak of the process that started this one.
    Windows has no getrusage, but keeps the peak itself.
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text() if status.exists() else "", re.M)
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        import psutil

        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
