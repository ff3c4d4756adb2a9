"""KoSent-Bench: 500 Korean items to measure a chat model on; README.md is its datasheet.

from dataset_builder.bench import load

load().crisis[0].good
"""

from __future__ import annotations

from dataset_builder.bench.items import (
    FOLDER,
    Benchmark,
    Branch,
    Conduct,
    Crisis,
    Dialogue,
    Exchange,
    Script,
    ScriptTurn,
    load,
)
from dataset_builder.bench.turns import Turn, turns

__all__ = [
    "FOLDER",
    "Benchmark",
    "Branch",
    "Conduct",
    "Crisis",
    "Dialogue",
    "Exchange",
    "Script",
    "ScriptTurn",
    "Turn",
    "load",
    "turns",
]
