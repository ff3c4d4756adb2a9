"""Judges of stored replies: models and people, and whether they can be believed.

from kosent_hub.judging import Options, judge, report
report_of_one = judge(Options(folders=["kosent-eval/FOLDER"], judge="ORG/MODEL", limit=64))
report_of_all = report(["kosent-eval/FOLDER"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kosent_hub.judging.options import Options
    from kosent_hub.judging.run import judge, report

__all__ = ["Options", "judge", "report"]


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: `judge` needs torch.
    if name == "Options":
        from kosent_hub.judging.options import Options

        return Options
    if name in ("judge", "report"):
        from kosent_hub.judging import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
