"""A finished run folder -> its repo on the Hub, in one commit: what training's own push does."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from model_card.publishing.errors import KoSentError, run_command
from model_card.publishing.hub_ids import is_hub_id


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `python -m kosent_hub.push`."""
    return run_command("kosent_hub.push", lambda: _main(argv))


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
    parser.add_argument(
        "--merged",
        action="store_true",
        help="push the base with the adapter merged into it too, to ORG/NAME-merged",
    )
    args = parser.parse_args(argv)
    from model_card.publishing import session

    session.install()
    print(push(args.run, args.repo_id, private=not args.public, create_pr=args.create_pr))
    if args.merged:
        print(push_merged(args.run, f"{args.repo_id}-merged", private=not args.public))
    print(f"pushed; score it: kosent-eval --model {args.repo_id} --dataset ID", file=sys.stderr)


def push(run: Path, repo_id: str, *, private: bool = True, create_pr: bool = False) -> str:
    """URL of the commit (or pull request) with adapter, tokenizer, records and card.

    `private` matters only where the repo has to be created. Raises KoSentError when `run` is no
    finished run, or when its adapter names a base that only this machine has.
    """
    from kosent_hub.training.run_folder import to_push
    from model_card.publish import publish

    files = to_push(run)
    _base(run)
    return publish(
        repo_id,
        files,
        message="Train with KoSent Hub",
        create_pr=create_pr,
        private=private if not create_pr else None,
    )


def push_merged(run: Path, repo_id: str, *, private: bool = True) -> str:
    """URL of the commit with the base model, the adapter merged into it, and the same records.

    Merged in bfloat16 whatever the base was quantised to while training.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from kosent_hub.training.run_folder import ADAPTER, to_push
    from model_card.publish import publish

    base, revision = _base(run)
    kept = {path: data for path, data in to_push(run).items() if path not in ADAPTER}
    model = AutoModelForCausalLM.from_pretrained(
        base,
        revision=revision,
        dtype=torch.bfloat16,
        use_safetensors=True,
        trust_remote_code=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        PeftModel.from_pretrained(model, str(run)).merge_and_unload().save_pretrained(folder)
        weights = {path.name: path for path in Path(folder).iterdir() if path.name != "README.md"}
        kept.pop("README.md", None)
        return publish(
            repo_id, {**kept, **weights}, message="Merge with KoSent Hub", private=private
        )


def _base(run: Path) -> tuple[str, str | None]:
    """The Hub id and commit of the base that a run's adapter is for."""
    config = json.loads((run / "adapter_config.json").read_text(encoding="utf-8"))
    base = str(config.get("base_model_name_or_path"))
    if not is_hub_id(base):
        raise KoSentError(
            run,
            f"its adapter names the base model {base!r}, a folder of this machine",
            "set base_model_name_or_path in adapter_config.json to the base's Hub id, then "
            "push again",
        )
    return base, config.get("revision")


if __name__ == "__main__":
    sys.exit(main())
