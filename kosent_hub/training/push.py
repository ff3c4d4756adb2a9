"""A finished run folder -> its repo on the Hub, in one commit: what training's own push does."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from kosent_hub.training.run_folder import ADAPTER, to_push
from model_card.publish import publish
from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id


def push(run: Path, repo_id: str, *, private: bool = True, create_pr: bool = False) -> str:
    """URL of the commit (or pull request) with adapter, tokenizer, records and card.

    `private` matters only where the repo has to be created. Raises KoSentError when `run` is no
    finished run, or when its adapter names a base that only this machine has.
    """
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

    Merged in bfloat16, even where the base was quantised for training.
    """
    from peft import PeftModel

    from kosent_hub.models.load import load_causal_model

    base, revision = _base(run)
    kept = {path: data for path, data in to_push(run).items() if path not in ADAPTER}
    model = load_causal_model(base, revision, "bfloat16")
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
