"""How a card and a printed table write numbers, durations and settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from model_card.metrics import KO


def decimals(*values: float | None) -> int:
    """The decimals for all numbers of a row, by the largest of them; None is no number."""
    known = (abs(value) for value in values if value is not None and math.isfinite(value))
    largest = max(known, default=0.0)
    return 1 if largest >= 100 else 2 if largest >= 1 else 3 if largest >= 0.1 else 4


def fixed(value: float | None, places: int, *, sign: bool = False) -> str:
    """`value` with that many decimals, thousands separated, a true minus sign; – for no number."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''},.{places}f}"
    return text.replace("-", "−")


def p_text(p_value: float) -> str:
    """`0.012`, or `< 0.001`."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if math.isfinite(value) else "–"


def percent(value: float, *, sign: bool = False) -> str:
    """0.213 as 21.3%."""
    return fixed(100 * value, 1, sign=sign) + "%" if math.isfinite(value) else "–"


def duration(seconds: float, language: str) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    hour, minute, second = ("시간", "분", "초") if language == KO else (" h", " min", " s")
    if seconds < 10:
        return f"{seconds:.1f}{second}"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        rest = f" {whole % 60}{second}" if whole % 60 and whole < 600 else ""
        return f"{whole // 60}{minute}{rest}"
    minutes = round(whole / 60)
    rest = f" {minutes % 60}{minute}" if minutes % 60 else ""
    return f"{minutes // 60:,}{hour}{rest}"


def format_settings(settings: Mapping[str, Any]) -> str:
    """Settings in one line, sorted by name: `limit 5, max_new_tokens 64`; "" for none."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted(settings.items())
    )
