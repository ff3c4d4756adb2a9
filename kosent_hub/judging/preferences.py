"""Verdicts as pairs to train on, in TRL's preference format."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kosent_hub.judging import verdicts
from kosent_hub.judging.measuring import believed
from kosent_hub.judging.reading import Pair, Stored, read_stored
from kosent_hub.judging.verdicts import FIRST, TIE
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write

# Splits that may be trained on.
SPLITS = ("train", "validation")


def export_preferences(folders: Sequence[str | Path], out: Path, *, overwrite: bool = False) -> int:
    """How many pairs were written to `out`, a JSON line each: `prompt`, `chosen`, `rejected`.

    A verdict is the people's majority, and where no person voted on a pair that of the models that
    may be believed; ties are left out. The lines hold the dataset's text.

    Raises:
        KoSentError: replies to the test split, no verdict that may be used, a file that is there.
    """
    stored = read_stored(folders)
    split = stored.dataset.split
    if split not in SPLITS:
        raise KoSentError(
            f"{stored.dataset.id}, {split}",
            "what a model is tested on is not to be trained on",
            f"judge replies to another split: kosent-eval --split {SPLITS[-1]}",
        )
    if out.exists() and not overwrite:
        raise KoSentError(out, "is there already", "replace it with --overwrite")
    found = believed(stored, *verdicts.read_all(stored))
    lines = list(_lines(stored, found))
    if not lines:
        raise KoSentError(
            stored.folders[0],
            "no verdict of a person, or of a model that may be believed, prefers a reply",
            "judge these replies first",
        )
    atomic_write(out, "".join(lines).encode())
    print(
        f"{out} holds text of {stored.dataset.id}: what its terms forbid to pass on stays here",
        file=sys.stderr,
    )
    return len(lines)


def _lines(stored: Stored, found: dict[Pair, int]) -> Iterator[str]:
    for pair, verdict in found.items():
        if verdict == TIE:
            continue
        first, second = stored.texts(pair)
        chosen, rejected = (first, second) if verdict == FIRST else (second, first)
        line: dict[str, Any] = {
            "prompt": [_message(m["role"], m["content"]) for m in stored.messages[pair.sample]],
            "chosen": [_message("assistant", chosen)],
            "rejected": [_message("assistant", rejected)],
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
