"""The folder a training run leaves behind: begun, taken up again, finished, pushed.

adapter_model.safetensors  adapter_config.json  tokenizer files  README.md
kosent/run.json  kosent/log_history.jsonl  kosent/plots/*.png
checkpoint-*/  runs/       for resuming and for TensorBoard; never pushed
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosent_hub.errors import KoSentError
from model_card import records
from model_card.local import record_files, write_card

COMPLETE = "kosent-checkpoint.json"
UNFINISHED = "kosent/unfinished.json"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
TOKENIZER = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)


@dataclass(frozen=True)
class Facts:
    """What decides a run's outcome: the commits it reads, its samples' digest, its settings."""

    base: records.Repo
    dataset: records.Repo
    data_sha256: str
    settings: dict[str, Any]


def unfinished(folder: Path) -> Facts | None:
    """What an interrupted run in this folder began with, None if there is none."""
    note = folder / UNFINISHED
    if not note.exists():
        return None
    found = json.loads(note.read_text(encoding="utf-8"))
    base, dataset = (records.Repo(**found.pop(name)) for name in ("base", "dataset"))
    return Facts(base, dataset, **found)


def begin(folder: Path, facts: Facts) -> None:
    """Claim the folder for a run with these facts: a new one, or the one that was interrupted.

    Raises KoSentError when it holds a finished run, a run with other facts, or other files.
    """
    if (folder / records.RUN_PATH).exists():
        raise KoSentError(
            f"{folder}: already holds a finished run; name another --output_dir to train again, or "
            f"push this one: python -m kosent_hub.push {folder} --repo-id ORG/NAME"
        )
    before = unfinished(folder)
    if before is not None:
        # One that saved nothing yet has nothing to go on from, and nothing to lose.
        if last_checkpoint(folder) is not None:
            _refuse_other_facts(folder, before, facts)
    elif folder.exists() and any(folder.iterdir()):
        raise KoSentError(
            f"{folder}: exists and holds something else; name a new folder with --output_dir"
        )
    note = json.dumps(dataclasses.asdict(facts), ensure_ascii=False, indent=2) + "\n"
    write(folder / UNFINISHED, note.encode())


def _refuse_other_facts(folder: Path, before: Facts, now: Facts) -> None:
    """An interrupted run goes on only as what it was."""
    changed = [
        f"{name} {before.settings.get(name)!r} -> {now.settings.get(name)!r}"
        for name in sorted(before.settings.keys() | now.settings.keys())
        if before.settings.get(name) != now.settings.get(name)
    ]
    if before.base != now.base:
        changed.append(f"base {before.base.id} -> {now.base.id}")
    if before.data_sha256 != now.data_sha256:
        changed.append(f"the data of {now.dataset.id}")
    if changed:
        raise KoSentError(
            f"{folder}: holds an unfinished run, but this changed: {', '.join(changed)}; run the "
            "same command as then to go on, or name another --output_dir to start afresh"
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, None if there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def finish(folder: Path, run: records.Run, log_history: list[dict[str, Any]]) -> None:
    """Write the records and the card beside the adapter; the run counts as finished from then."""
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in log_history]
    write(folder / records.LOG_HISTORY_PATH, "".join(lines).encode())
    # Trainer's and peft's own: a pickle with this machine's paths, a card without facts.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)
    write(folder / records.RUN_PATH, records.dumps(run).encode())
    (folder / UNFINISHED).unlink()
    write_card(folder, None, None)


def name_base(folder: Path, base: str, revision: str | None) -> None:
    """Make the adapter's config name its base as the user did, at the commit it was trained on."""
    write(folder / "adapter_config.json", config_naming(folder, base, revision))


def config_naming(folder: Path, base: str, revision: str | None) -> bytes:
    """The adapter's config with this base in it."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base, "revision": revision}
    return json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def to_push(folder: Path) -> dict[str, Path | bytes]:
    """The files of a finished run that belong on the Hub, by their path there."""
    for needed in (*ADAPTER, records.RUN_PATH):
        if not (folder / needed).is_file():
            raise KoSentError(
                f"{folder}: no {needed}; this is not a finished run, train it to its end first"
            )
    found = {name: folder / name for name in (*ADAPTER, *TOKENIZER) if (folder / name).is_file()}
    return found | record_files(folder)


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
