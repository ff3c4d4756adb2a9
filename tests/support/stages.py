"""What each stage of a command takes: seconds, and the most memory it had."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
# kosent-eval says on stderr what it is about to do; what comes before the model is its start.
EVALUATION = {
    "generation": ": transformers, ",
    "fit": ": fit: ",
    "scoring": "scoring\n",
    "push": "results: ",
}


@dataclass(frozen=True)
class Stage:
    """Seconds on the clock and peak resident memory in MB."""

    seconds: float
    peak: float


def stages(
    command: Sequence[str | Path],
    marks: Mapping[str, str] | None = None,
    *,
    env: Mapping[str, str],
    cwd: Path,
) -> dict[str, Stage]:
    """The command's stages by name: `start`, then each from where its mark is on stderr."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
    )
    begins = {"start": time.monotonic()}
    peaks = dict.fromkeys(["start", *(marks or {})], 0.0)
    memory = Path(f"/proc/{process.pid}")
    last = ""

    def listen() -> None:
        nonlocal last
        assert process.stderr is not None
        waiting = list((marks or {}).items())
        while chunk := process.stderr.read1():
            last = last[-3000:] + chunk.decode("utf-8", "replace")
            while waiting and waiting[0][1] in last:
                # From here on the kernel's own peak, which no poll can miss, is of this stage.
                (memory / "clear_refs").write_text("5")
                begins[waiting.pop(0)[0]] = time.monotonic()

    listener = threading.Thread(target=listen)
    listener.start()
    while process.poll() is None:
        stage = list(begins)[-1]
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if found := re.search(r"VmHWM:\s+(\d+)", (memory / "status").read_text()):
                peaks[stage] = max(peaks[stage], int(found[1]) / 1000)
        time.sleep(POLL_SECONDS)
    ends = [*list(begins.values())[1:], time.monotonic()]
    listener.join()
    assert process.returncode == 0, last
    assert begins.keys() == peaks.keys(), f"never said: {peaks.keys() - begins.keys()}\n{last}"
    return {
        name: Stage(end - begin, peaks[name])
        for (name, begin), end in zip(begins.items(), ends, strict=True)
    }


def table(rows: Mapping[str, Stage]) -> str:
    """The stages as a Markdown table."""
    lines = [f"| {name} | {stage.seconds:.1f} | {stage.peak:.0f} |" for name, stage in rows.items()]
    return "\n".join(["| | seconds | peak MB |", "|---|---:|---:|", *lines])
