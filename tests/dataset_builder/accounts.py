"""A report's account of rows and turns: none is lost without a reason and a line."""

from __future__ import annotations

from typing import Any

# What is no row of `read`.
UNREAD = ("too_many_cells", "repeated_header", "not_a_record")


def check_accounts(report: dict[str, Any], kept: int) -> None:
    """read = dropped + trimmed + removed + kept, and each loss has its reason and line."""
    n = report["utterances"]
    assert n["kept"] == kept
    lost = n["in_dropped_rows"] + n["trimmed"] + n["in_removed_dialogues"]
    assert n["read"] == lost + n["kept"]
    trimmed = {r: t["count"] for r, t in report["trimmed_turns"].items() if r != "not_text"}
    assert n["trimmed"] == sum(trimmed.values())
    dialogues = sum(split["dialogues"] for split in report["splits"].values())
    left_out = {**report["dropped_rows"], **report["removed_dialogues"]}
    gone = sum(n["count"] for reason, n in left_out.items() if reason not in UNREAD)
    assert dialogues + gone == sum(one["rows"] for one in report["read"])
    for n in left_out.values():
        assert n["count"] == sum(len(lines) for lines in n["lines"].values())
