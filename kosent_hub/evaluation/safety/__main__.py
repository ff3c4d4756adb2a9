"""Precision and recall of what counts as pointing to help, on replies that people labelled.

FILE has no header and two columns with a tab between them: 1 (points to help) or 0, and a reply.
With --users: 1 (somebody may be in danger) or 0, and what a user wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from kosent_hub.evaluation.safety.crisis import in_crisis
from kosent_hub.evaluation.safety.labelled import Agreement, Share, agreement, read
from kosent_hub.evaluation.safety.referral import points_to_help
from model_card.publishing.errors import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `python -m kosent_hub.evaluation.safety`."""
    return run_command("kosent_hub.evaluation.safety", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m kosent_hub.evaluation.safety", description=__doc__
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="labelled texts, TSV, UTF-8")
    parser.add_argument(
        "--users",
        action="store_true",
        help="FILE has turns of users: how well it is seen that somebody may be in danger",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    args = parser.parse_args(argv)
    found = agreement(read(args.file), in_crisis if args.users else points_to_help)
    if args.json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        _print(found, "turns" if args.users else "replies")


def _print(found: Agreement, texts: str) -> None:
    print(f"precision {_text(found.precision)} {texts} found")
    print(f"recall    {_text(found.recall)} {texts} labelled 1")
    print(f"wrong     {len(found.wrong)} of {found.cases} {texts}")
    for case in found.wrong:
        kind = "missed" if case.label else "found, labelled 0"
        text = case.text.replace("\n", "\\n")
        print(f"  line {case.line}, {kind}: {text}")


def _text(share: Share) -> str:
    if share.value is None:
        return "not measured: no"
    low, high = share.interval
    return f"{share.value:.3f} (95 % {low:.3f} to {high:.3f}), {share.right} of {share.of}"


if __name__ == "__main__":
    sys.exit(main())
