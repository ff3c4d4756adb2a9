"""`kosent-train push`: a finished run folder -> its repo on the Hub, in one commit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_card.publishing.errors import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-train push`, or of `python -m kosent_hub.push`."""
    return run_command("kosent_hub.push", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="kosent-train push", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder a training run left")
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="the model repo")
    parser.add_argument(
        "--public", action="store_true", help="create the repo publicly (default: privately)"
    )
    parser.add_argument(
        "--create-pr", action="store_true", help="open a pull request instead of committing"
    )
    parser.add_argument(
        "--merged",
        action="store_true",
        help="push the base with the adapter merged into it too, to ORG/NAME-merged",
    )
    args = parser.parse_args(argv)
    from kosent_hub.training.push import push, push_merged
    from model_card.publishing import session

    session.install()
    print(push(args.run, args.repo_id, private=not args.public, create_pr=args.create_pr))
    if args.merged:
        print(push_merged(args.run, f"{args.repo_id}-merged", private=not args.public))
    print(f"pushed; score it: kosent-eval --model {args.repo_id} --dataset ID", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
