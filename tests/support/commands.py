"""Commands small enough to be run again and again, and the folders to run them in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.kosent_hub import conftest as chat
from tests.kosent_hub import dialogues
from tests.kosent_hub.exporting.conftest import write_run
from tests.model_card.cards import RECORDS
from tests.support import ROOT

SAMPLE = ROOT / "dataset_builder" / "sample"
TRAIN = (
    f"{sys.executable} -m kosent_hub.train --config smollm2-135m/cpu --dataset_name dataset "
    f"--model_name_or_path {chat.BASE} --per_device_train_batch_size 2 --max_steps 4 "
    "--lora_dropout 0.1 --logging_steps 3 --save_steps 1 --eval_steps 2 --dtype float32 "
    "--bf16 false --output_dir run"
).split()
EVALUATE = (
    f"{sys.executable} -m kosent_hub.evaluate --model run --dataset chat --embedder none "
    "--max-new-tokens 8 --no-safety --dtype float32 --output out"
).split()
EXPORT = ["kosent-export", "run", "--merged", "merged"]
BUILD = ["kosent-data", "build", str(SAMPLE), "dataset"]


def for_training(place: Path, tiny_llama: Path) -> None:
    """What TRAIN reads: the base model is only linked."""
    chat.write_dataset(place / "dataset")
    (place / chat.BASE).parent.mkdir()
    (place / chat.BASE).symlink_to(tiny_llama)


def for_evaluation(place: Path, tiny_llama: Path) -> None:
    """What EVALUATE reads: a run folder with a whole model, which is only linked."""
    dialogues.write_dataset(place / "chat", 8)
    (place / "run" / "kosent").mkdir(parents=True)
    (place / "run" / "kosent" / "run.json").write_text("{}")
    for file in tiny_llama.iterdir():
        (place / "run" / file.name).symlink_to(file)


def for_export(place: Path, tiny_llama: Path) -> None:
    """What EXPORT reads: an adapter, and its base, which is only linked."""
    (place / chat.BASE).parent.mkdir(parents=True)
    (place / chat.BASE).symlink_to(tiny_llama)
    write_run(place, chat.BASE)


def finished_run(folder: Path) -> Path:
    """A run folder that can be pushed."""
    shutil.copytree(RECORDS / "adapter", folder)
    (folder / "adapter_model.safetensors").write_bytes(bytes(50_000))
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "kosent/base"}')
    return folder
