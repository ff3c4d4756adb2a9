"""A finished run folder -> its repo on the Hub, in one commit: what training's own push does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from kosent_hub.errors import KoSentError, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `python -m kosent_hub.push`."""
    return run_command("kosent_hub.push", lambda _: _main(argv))


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m kosent_hub.push", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder a training run left")
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="the model repo")
    parser.add_argument(
        "--public", action="store_true", help="create the repo publicly (default: privately)"
    )
    parser.add_argument(
        "--create-pr", action="store_true", help="open a pull request instead of committing"
    )
    args = parser.parse_args(argv)
    url = push(args.run, args.repo_id, private=not args.public, create_pr=args.create_pr)
    print(url)
    print(f"pushed; score it: kosent-eval --model {args.repo_id} --dataset ID", file=sys.stderr)


def push(run: Path, repo_id: str, *, private: bool = True, create_pr: bool = False) -> str:
    """URL of the commit (or pull request) with adapter, tokenizer, records and card.

    `private` matters only where the repo has to be created. Raises KoSentError when `run` is no
    finished run, or when its adapter names a base that only this machine has.
    """
    from kosent_hub.run_folder import to_push
    from model_card.publish import publish

    files = to_push(run)
    config = json.loads((run / "adapter_config.json").read_text(encoding="utf-8"))
    base = str(config.get("base_model_name_or_path"))
    if base.count("/") != 1 or base.startswith((".", "/")):
        raise KoSentError(
            f"{run}: its adapter names the base model {base!r}, a folder of this machine; set "
            "base_model_name_or_path in adapter_config.json to the base's Hub id, then push again"
        )
    return publish(
        repo_id,
        files,
        message="Train with KoSent Hub",
        create_pr=create_pr,
        private=private if not create_pr else None,
    )


if __name__ == "__main__":
    sys.exit(main())
