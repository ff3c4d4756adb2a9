"""The folder a training run leaves behind: begun, taken up again, finished, pushed.

adapter_model.safetensors  adapter_config.json  tokenizer files  README.md
kosent/run.json  kosent/log_history.jsonl  kosent/plots/*.png
checkpoint-*/  runs/       for resuming and for TensorBoard; never pushed
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_card import records
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.run_folder import record_files

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
    before = unfinished(folder)
    if before is not None:
        # One that saved nothing yet has nothing to go on from, and nothing to lose.
        if trained(folder) or last_checkpoint(folder) is not None:
            _refuse_other_facts(folder, before, facts)
    elif trained(folder):
        raise KoSentError(
            folder,
            "already holds a finished run",
            "name another --output_dir to train again, or push this one: python -m "
            f"kosent_hub.push {folder} --repo-id ORG/NAME",
        )
    elif folder.exists() and any(folder.iterdir()):
        raise KoSentError(
            folder, "exists and holds something else", "name a new folder with --output_dir"
        )
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():  # cut short, so of no use to anybody
            shutil.rmtree(path)
    note = json.dumps(dataclasses.asdict(facts), ensure_ascii=False, indent=2) + "\n"
    atomic_write(folder / UNFINISHED, note.encode())


def trained(folder: Path) -> bool:
    """Whether all steps are done; with the note of `begin` still there, not all that follows is."""
    return (folder / records.RUN_PATH).exists()


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
            folder,
            f"holds an unfinished run, but this changed: {', '.join(changed)}",
            "run the same command as then to go on, or name another --output_dir to start afresh",
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, None if there is none."""
    return max(_whole_checkpoints(folder), key=_step, default=None)


def complete(checkpoint: Path, counts: dict[str, Any], limit: int | None, best: str | None) -> None:
    """Declare a checkpoint whole, and then remove the oldest ones beyond `limit` but the `best`."""
    atomic_write(checkpoint / COMPLETE, json.dumps(counts).encode() + b"\n")
    if limit:
        for old in sorted(_whole_checkpoints(checkpoint.parent), key=_step)[:-limit]:
            if best is None or old.name != Path(best).name:
                # What is left of one that is being removed must not be taken for whole.
                (old / COMPLETE).unlink()
                shutil.rmtree(old)


def _whole_checkpoints(folder: Path) -> list[Path]:
    return [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def finish(folder: Path, run: records.Run, log_history: list[dict[str, Any]]) -> None:
    """Write the records beside the adapter; the run counts as trained from then."""
    # Trainer's last entry is about the process that ended the run, not about the run.
    curve = [entry for entry in log_history if "train_runtime" not in entry]
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in curve]
    atomic_write(folder / records.LOG_HISTORY_PATH, "".join(lines).encode())
    # Trainer's and peft's own: a pickle with this machine's paths, a card without facts.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)
    atomic_write(folder / records.RUN_PATH, records.dumps(run).encode())


def end(folder: Path) -> None:
    """Remove the note of `begin`: all that the command was asked for is done."""
    (folder / UNFINISHED).unlink()


def name_base(folder: Path, base: str, revision: str | None) -> None:
    """Make the adapter's config name its base as the user did, at the commit it was trained on."""
    atomic_write(folder / "adapter_config.json", config_naming(folder, base, revision))


def config_naming(folder: Path, base: str, revision: str | None) -> bytes:
    """The adapter's config with this base in it.

    peft writes the names of the adapted layers in another order in every process; here they have
    one.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base, "revision": revision}
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    return json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def to_push(folder: Path) -> dict[str, Path | bytes]:
    """The files of a finished run that belong on the Hub, by their path there."""
    for needed in (*ADAPTER, records.RUN_PATH):
        if not (folder / needed).is_file():
            raise KoSentError(
                folder, f"no {needed}", "this is not a finished run, train it to its end first"
            )
    found = {name: folder / name for name in (*ADAPTER, *TOKENIZER) if (folder / name).is_file()}
    return found | record_files(folder)
