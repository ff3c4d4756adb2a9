"""A dataset of chats: one split with a column of messages, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kosent_hub.models import untrusted
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from trl import ScriptArguments
from kosent_hub.models.tokenizer import Messages


def load(
    script: ScriptArguments, revision: str | None, validation: bool
) -> dict[str, list[Messages]]:
    """The dialogues to train on and, if wanted and there, those of the validation split.

    Never the test split: who looks at it while training has none left.
    """
    from datasets import load_dataset

    name = str(script.dataset_name)
    rows = load_dataset(name, script.dataset_config, revision=revision)
    if script.dataset_train_split not in rows:
        raise KoSentError(
            name,
            f"no split {script.dataset_train_split!r} (found {', '.join(rows)})",
            "name one with --dataset_train_split",
        )
    wanted = {"train": script.dataset_train_split}
    if validation and "validation" in rows:
        wanted["validation"] = "validation"
    for split in wanted.values():
        if "messages" not in rows[split].column_names:
            raise KoSentError(
                name,
                f"no column `messages` (found {', '.join(rows[split].column_names)})",
                "build the dataset with kosent-data build",
            )
    return {role: list(rows[split]["messages"]) for role, split in wanted.items()}


def system_prompt(dialogues: Sequence[Messages]) -> str | None:
    """The system message that all dialogues begin with, None if they differ."""
    prompts = {d[0]["content"] if d and d[0]["role"] == "system" else None for d in dialogues}
    return prompts.pop() if len(prompts) == 1 else None


def corpus(dataset: str, revision: str | None) -> str | None:
    """The corpus named in the dataset's report.json, None where there is no such report."""
    path: Path | str = Path(dataset) / "report.json"
    if not Path(dataset).is_dir():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            path = hf_hub_download(dataset, "report.json", repo_type="dataset", revision=revision)
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return None
    elif not Path(path).is_file():
        return None
    found = untrusted.read_settings(Path(path), f"{dataset}/report.json").get("corpus")
    return found if isinstance(found, str) else None
