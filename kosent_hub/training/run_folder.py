"""The folder of a training run: claimed, resumed after an interruption, finished, pushed.

adapter_model.safetensors  adapter_config.json  tokenizer files  README.md
kosent/run.json  kosent/log_history.jsonl  kosent/plots/*.png
checkpoint-*/  runs/       for resuming, and for TensorBoard on this machine; never pushed
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosent_hub.training.tfevents import event_files
from model_card import records
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.run_folder import record_files

# Written into a checkpoint last: one without it was cut short.
SEAL = "kosent-checkpoint.json"
# The facts of a run that is not finished; removed by `release`.
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
    """What decides a run's outcome: the commits it reads, its samples' digest, its settings, and
    the adapter that it goes on from.

    An interrupted run is resumed only with the same facts.
    """

    base: records.Repo
    dataset: records.Repo
    data_sha256: str
    settings: dict[str, Any]
    adapter: records.Repo | None = None


def unfinished(folder: Path) -> Facts | None:
    """The facts of an interrupted run in this folder, None if there is no such run."""
    note = folder / UNFINISHED
    if not note.exists():
        return None
    found = json.loads(note.read_text(encoding="utf-8"))
    base, dataset = (records.Repo(**found.pop(name)) for name in ("base", "dataset"))
    adapter = found.pop("adapter", None)
    adapter = None if adapter is None else records.Repo(**adapter)
    return Facts(base, dataset, **found, adapter=adapter)


def claim(folder: Path, facts: Facts) -> None:
    """Write the note that this folder is a run's with these facts, new or interrupted before.

    Raises KoSentError when the folder has a finished run, a run with other facts, or other files.
    """
    before = unfinished(folder)
    if before is not None:
        # A run that saved nothing yet has nothing to resume, and nothing to lose.
        if has_run_record(folder) or last_checkpoint(folder) is not None:
            _refuse_other_facts(folder, before, facts)
    elif has_run_record(folder):
        raise KoSentError(
            folder,
            "already holds a finished run",
            "name another --output_dir to train again, or push this one: kosent-train push "
            f"{folder} --repo-id ORG/NAME",
        )
    elif folder.exists() and any(folder.iterdir()):
        raise KoSentError(
            folder, "exists and holds something else", "name a new folder with --output_dir"
        )
    for path in folder.glob("checkpoint-*"):
        if not (path / SEAL).exists():
            shutil.rmtree(path)
    note = json.dumps(dataclasses.asdict(facts), ensure_ascii=False, indent=2) + "\n"
    atomic_write(folder / UNFINISHED, note.encode())


def has_run_record(folder: Path) -> bool:
    """Whether all steps are done. With the note of `claim` still there, card or push are not."""
    return (folder / records.RUN_PATH).exists()


def _refuse_other_facts(folder: Path, before: Facts, now: Facts) -> None:
    """Raise KoSentError, naming what changed, unless an interrupted run has the facts of `now`."""
    changed = [
        f"{name} {before.settings.get(name)!r} -> {now.settings.get(name)!r}"
        for name in sorted(before.settings.keys() | now.settings.keys())
        if before.settings.get(name) != now.settings.get(name)
    ]
    if before.base != now.base:
        changed.append(f"base {before.base.id} -> {now.base.id}")
    if before.adapter != now.adapter:
        ids = [found.id if found else None for found in (before.adapter, now.adapter)]
        changed.append(f"adapter {ids[0]} -> {ids[1]}")
    if before.data_sha256 != now.data_sha256:
        changed.append(f"the data of {now.dataset.id}")
    if changed:
        raise KoSentError(
            folder,
            f"holds an unfinished run, but this changed: {', '.join(changed)}",
            "run the same command as then to go on, or name another --output_dir to start afresh",
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is complete, None if there is none."""
    return max(_sealed_checkpoints(folder), key=_step, default=None)


def check_state(checkpoint: Path) -> None:
    """Raise KoSentError for a checkpoint without optimizer and schedule: training on from there,
    both would begin anew and the run be another one.

    DeepSpeed keeps both in a folder `global_step*`; Trainer and FSDP keep each under its name.
    """
    kept = any(checkpoint.glob("optimizer*")) and any(checkpoint.glob("scheduler*"))
    if not kept and not any(checkpoint.glob("global_step*")):
        raise KoSentError(
            checkpoint,
            "has the adapter alone, without optimizer and schedule (--save_only_model), so this "
            "run cannot go on from there as it was",
            "start afresh with another --output_dir, and without --save_only_model",
        )


def seal_checkpoint(
    checkpoint: Path, counts: dict[str, Any], limit: int | None, best: str | None
) -> None:
    """Mark a checkpoint as complete; then remove the oldest ones beyond `limit` but the `best`.

    `counts` are what the trainer needs to go on counting from there.
    """
    atomic_write(checkpoint / SEAL, json.dumps(counts).encode() + b"\n")
    if limit:
        for old in sorted(_sealed_checkpoints(checkpoint.parent), key=_step)[:-limit]:
            if best is None or old.name != Path(best).name:
                # First, so that one that is half removed does not count as complete.
                (old / SEAL).unlink()
                shutil.rmtree(old)


def _sealed_checkpoints(folder: Path) -> list[Path]:
    return [path.parent for path in folder.glob(f"checkpoint-*/{SEAL}")]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def write_records(folder: Path, run: records.Run, log_history: list[dict[str, Any]]) -> None:
    """Write log history and run record beside the adapter, the record last: then it is trained."""
    # Trainer's last entry is about the process that ended the run, not about the run.
    curve = [entry for entry in log_history if "train_runtime" not in entry]
    lines = [json.dumps(records.finite(entry), ensure_ascii=False) + "\n" for entry in curve]
    atomic_write(folder / records.LOG_HISTORY_PATH, "".join(lines).encode())
    # Trainer's and peft's own: a pickle with this machine's paths, a card without facts.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)
    atomic_write(folder / records.RUN_PATH, records.dumps(run).encode())


def release(folder: Path) -> None:
    """Remove the note of `claim`: training, card and push are done."""
    (folder / UNFINISHED).unlink()


def name_base(folder: Path, base: str, revision: str | None) -> None:
    """Write the base's name and commit into the adapter's config."""
    atomic_write(folder / "adapter_config.json", adapter_config(folder, base, revision))


def adapter_config(folder: Path, base: str, revision: str | None) -> bytes:
    """The adapter's config with this base in it.

    The names of the adapted layers are sorted: peft's order differs from process to process.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base, "revision": revision}
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    return json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def to_push(folder: Path) -> dict[str, Path | bytes]:
    """The files of a finished run that are pushed, by their path in the repo."""
    for needed in (*ADAPTER, records.RUN_PATH):
        if not (folder / needed).is_file():
            raise KoSentError(
                folder, f"no {needed}", "this is not a finished run, train it to its end first"
            )
    found = {name: folder / name for name in (*ADAPTER, *TOKENIZER) if (folder / name).is_file()}
    return found | record_files(folder) | event_files(folder)
