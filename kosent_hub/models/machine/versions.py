"""Versions of the libraries that decide what a model learns, replies and scores."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

ALWAYS = ("kosent-hub", "peft", "tokenizers", "torch", "transformers")


def versions(*packages: str) -> dict[str, str]:
    """Version by name: Python, then those of ALWAYS and of `packages` that are installed."""
    found = {"python": platform.python_version()}
    for name in sorted({*ALWAYS, *packages}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_version() -> dict[str, Any]:
    """Release of kosent-hub; its git commit, and whether files differ from it, where that is known.

    That is so in a checkout, and for what pip installed from a repository.
    """
    found: dict[str, Any] = {"version": importlib.metadata.version("kosent-hub")}
    root = Path(__file__).resolve().parents[3]
    if (root / ".git").exists():
        commit, changed = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
        if commit and changed is not None:
            return found | {"commit": commit, "dirty": changed != ""}
    source = importlib.metadata.distribution("kosent-hub").read_text("direct_url.json")
    commit = json.loads(source or "{}").get("vcs_info", {}).get("commit_id")
    return found | ({"commit": commit, "dirty": False} if commit else {})


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, None where it cannot."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
