"""How many inputs `make fuzz` tries, and what it has found so far: a part of docs/faults.md."""

from __future__ import annotations

INPUTS = 5_000
MODELS = 400  # of each of three kinds; KOSENT_FUZZ_MODELS in the Makefile
FOUND: tuple[str, ...] = ()
