"""How a corpus is read and a dataset is built; the defaults here are those of the flags."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SYSTEM_PROMPT = "당신은 감정을 공감해주는 챗봇입니다."
VALIDATION_FRACTION = 0.02


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """How to read a corpus.

    `as_is` keeps every dialogue in the split it came from, which gives the reference's counts;
    then nothing is carved out for validation unless `validation_fraction` says so. Of several
    copies of a split, the one is read that `prefer` names: its edition, its container, or a part
    of its path. `mask_personal_data` puts the name of its kind in the place of each resident
    number, phone number, e-mail address and account in a turn.
    """

    system_prompt: str = SYSTEM_PROMPT
    as_is: bool = False
    validation_fraction: float | None = None
    seed: int = 42
    prefer: str | None = None
    mask_personal_data: bool = False

    @property
    def fraction(self) -> float:
        """The share of train that becomes validation."""
        if self.validation_fraction is not None:
            return self.validation_fraction
        return 0.0 if self.as_is else VALIDATION_FRACTION

    def as_json(self) -> dict[str, Any]:
        """The options as report.json holds them, with the fraction that was used."""
        values = {field.name: getattr(self, field.name) for field in fields(CorpusOptions)}
        return values | {"validation_fraction": self.fraction}


@dataclass(frozen=True, kw_only=True)
class BuildOptions(CorpusOptions):
    """What to build: the dataset folder `out` from AI Hub's folder, zip or file `source`.

    `strict` makes any dropped row or trimmed turn an error. `overwrite` replaces the dataset that
    is in `out`.
    """

    source: str | Path
    out: str | Path
    strict: bool = False
    overwrite: bool = False
