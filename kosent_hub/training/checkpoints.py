"""Checkpoints pushed during training, to the branch `checkpoints` of the run's repo."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kosent_hub.training.run_folder import ADAPTER, TOKENIZER, adapter_config
from model_card.publish import BaseRepo, additions
from model_card.publishing.commit import commit
from model_card.publishing.errors import explain
from model_card.records import Repo

if TYPE_CHECKING:
    from kosent_hub.training.recipe import Push

BRANCH = "checkpoints"


class PushCheckpoints(TrainerCallback):
    """Pushes adapter and tokenizer of each checkpoint, one at a time, in a thread, with the files
    that the base's licence wants beside them.

    A checkpoint that is saved while another is being pushed is skipped. A failed push prints a
    line and training goes on: the run is on the disk, and is pushed at its end.
    """

    def __init__(self, push: Push, base: Repo, base_name: str) -> None:
        self._push, self._base, self._base_name = push, base, base_name
        self._licenses = BaseRepo(HfApi())
        self._thread = ThreadPoolExecutor(1)
        self._sending: Future[None] | None = None

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Push the new checkpoint, read at once: its folder may be removed meanwhile."""
        if not state.is_world_process_zero or (self._sending and not self._sending.done()):
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        names = [name for name in (*ADAPTER, *TOKENIZER) if (folder / name).is_file()]
        files = {name: (folder / name).read_bytes() for name in names}
        files["adapter_config.json"] = adapter_config(folder, self._base_name, self._base.revision)
        self._sending = self._thread.submit(self._send, files, state.global_step)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Wait for the push that is running."""
        self._thread.shutdown()

    def _send(self, files: Mapping[str, bytes], step: int) -> None:
        try:
            owed = self._licenses.notices(self._base)
            url = commit(
                self._push.repo_id,
                lambda head: additions(
                    {**files} | {n: data for n, data in owed.items() if n not in head.paths()}
                ),
                message=f"Checkpoint after step {step}",
                # A model may be public: this only says how a missing repo is created.
                private=None if self._push.private else False,
                branch=BRANCH,
            )
            print(f"\nstep {step} pushed: {url}", file=sys.stderr)
        except Exception as error:
            why = explain(error) or repr(error)
            print(f"\nstep {step} not pushed ({why}); training goes on", file=sys.stderr)
