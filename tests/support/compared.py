"""What a command left, to be compared with what another run of it left.

What differs between any two runs, and so is not compared, is named in `settled` and `untimed`.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

# What a card says of them: lines with a time, a speed or a peak of memory, moments, commits (and
# the hashes of its sections, which such lines are in).
MEASURED = re.compile(
    r"^(\| (걸린 시간|Time|최대 메모리|Peak memory) \||생성에 |Generation took ).*$", re.M
)
STAMPS = re.compile(r"\b20\d\d-\d\d-\d\dT[\d:]{8}\+00:00|\b[0-9a-f]{12}([0-9a-f]{28})?\b")
ANEW = ("seconds", "created", "speed", "peak_memory_gib", "revision")
CLOCKED = re.compile(r"(_runtime|_per_second)$")


def held(place: Path) -> dict[str, Any]:
    """Everything below a folder, hidden files too, but what is only linked into it.

    TensorBoard's files are left out: time, host and process are in their very names.
    """
    paths = [path for path in sorted(place.rglob("*")) if not path.name.startswith("events.out.")]
    return {
        path.relative_to(place).as_posix(): settled(path.name, path.read_bytes())
        for path in paths
        if path.is_file() and not path.is_symlink()
    } | {
        path.relative_to(place).as_posix(): "an empty folder"
        for path in paths
        if path.is_dir() and not any(path.iterdir())
    }


def settled(name: str, data: bytes) -> Any:
    """A file's content without what no two runs share; what a kill cut short as it is."""
    if Path(name).name.startswith("events.out."):
        return "curves, which have moments in them"
    try:
        if name == "README.md":
            return STAMPS.sub("", MEASURED.sub("", data.decode()))
        if name.startswith("completions-"):
            return completions(data)
        if name.endswith(".jsonl"):
            return [untimed(json.loads(line)) for line in data.splitlines()]
        if name.endswith(".json"):
            return untimed(json.loads(data))
    except ValueError:
        pass
    return data


def completions(data: bytes) -> dict[str, Any]:
    """Key -> record of a log, in which a kill may have cut a line short."""
    found = {}
    for line in data.splitlines():
        with suppress(ValueError):
            record = untimed(json.loads(line))
            found[record.pop("key")] = record
    return found


def untimed(value: Any) -> Any:
    """JSON without what is measured anew: times, speeds, peaks of memory, Trainer's own too.

    And without `revision`, for a push moves the head that the next evaluation reads. The layers
    that an adapter is for are a set, which peft writes in any order into checkpoints.
    """
    if isinstance(value, list):
        return [untimed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("target_modules"), list):
        value["target_modules"].sort()
    return {
        key: untimed(item)
        for key, item in value.items()
        if key not in ANEW and not CLOCKED.search(key)
    }


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return sorted(
        path for path in ours.keys() | theirs.keys() if ours.get(path, 0) != theirs.get(path, 0)
    )
