"""A finished run folder -> its repo on the Hub, in one commit: what training's own push does."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from kosent_hub.training.run_folder import TOKENIZER, to_push
from model_card.licenses import TERMS_PATHS
from model_card.publish import publish
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.publishing.hub_ids import is_hub_id
from model_card.records import LOG_HISTORY_PATH, RUN_PATH
from model_card.run_folder import write_card


def push(run: Path, repo_id: str, *, private: bool = True, create_pr: bool = False) -> str:
    """URL of the commit (or pull request) with adapter, tokenizer, records and card.

    `private` matters only where the repo has to be created. Raises KoSentError when `run` is no
    finished run, or when its adapter names a base that only this machine has.
    """
    files = to_push(run)
    base_on_hub(run)
    return publish(
        repo_id,
        files,
        message="Train with KoSent Hub",
        create_pr=create_pr,
        private=private if not create_pr else None,
    )


def push_merged(run: Path, repo_id: str, *, private: bool = True) -> str:
    """URL of the commit with the base model, the adapter merged into it, and the run's records.

    Merged as `write_merged` does it, even where the base was quantised for training.
    """
    from kosent_hub.models.locate import ModelRef, locate
    from kosent_hub.models.weights.merged import write_merged

    base_on_hub(run)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / run.resolve().name
        write_merged(locate(ModelRef(str(run))), place, lambda new: fill_merged(run, new))
        return publish(repo_id, files_in(place), message="Merge with KoSent Hub", private=private)


def fill_merged(run: Path, folder: Path) -> None:
    """Write beside the merged weights in `folder` what a finished run has for them: tokenizer,
    records of the training, licence files, and the card made from these.

    Scores and conversations are the adapter's, and stay with it.
    """
    kept = (*TOKENIZER, RUN_PATH, LOG_HISTORY_PATH, *TERMS_PATHS)
    to_push(run)  # refuses what is no finished run
    for name in kept:
        if (run / name).is_file():
            atomic_write(folder / name, (run / name).read_bytes())
    write_card(folder, None, None)


def files_in(folder: Path) -> dict[str, Path | bytes]:
    """The files of a folder, by their path in a repo."""
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def base_on_hub(run: Path) -> tuple[str, str | None]:
    """The Hub id and commit of the base that a run's adapter is for; raises KoSentError for a
    folder of this machine."""
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
