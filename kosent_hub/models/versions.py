"""Versions of the libraries that decide what a model learns, replies and scores."""

from __future__ import annotations

import importlib.metadata
import platform

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
