"""TRL's SFTTrainer with sealed checkpoints, token counts, and a faster head on a CPU.

The loss and the optimizer are TRL's own; the labels come from models/chat_format.py. What
`preference_trainer.py` shares with it is `Resumable`.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.utils.data import Sampler
from tqdm import tqdm
from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer
from trl.trainer.base_trainer import _BaseTrainer

from kosent_hub.models.chat_format import IGNORED
from kosent_hub.training.planning.memory import CPU_HEAD_ROWS
from kosent_hub.training.run_folder import SEAL, seal_checkpoint

if TYPE_CHECKING:
    from datasets import Dataset

# Batches that are sorted together: enough that a batch has little padding, few enough that the
# order stays random.
_SORTED_TOGETHER = 50


class Resumable(_BaseTrainer):
    """What both trainers add to TRL's: counts, sealed checkpoints, an end with the patience.

    With `patience`, training ends after that many validations without a lower loss.
    `tokens` and `learned_tokens` count what was trained on (padding apart) over all processes;
    they and `seconds` go on where a checkpoint left them.
    """

    model: Any
    _metrics: Any
    _total_train_tokens: Any

    def __init__(self, args: TrainingArguments, patience: int | None, **arguments: Any) -> None:
        self.stop, self._patience = Stop(), patience
        super().__init__(args=args, callbacks=[self.stop], **arguments)
        for shown in (ProgressCallback, PrinterCallback):
            self.remove_callback(shown)
        self.progress = Progress(lambda: self.tokens)
        if not self.args.disable_tqdm:
            self.add_callback(self.progress)
        self.learned_tokens = 0
        self.started = time.monotonic()
        # TRL keeps a quantised model's adapter in bfloat16, which a gradient scaler (fp16 on
        # older GPUs) cannot unscale; under autocast float32 costs little.
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    @property
    def tokens(self) -> int:
        """Tokens trained on, padding apart."""
        return int(self._total_train_tokens)

    @property
    def seconds(self) -> float:
        """Wall time spent in this run, before and after a resumption."""
        return time.monotonic() - self.started

    def resume(self, checkpoint: Path) -> None:
        """Continue the counts from those of a sealed checkpoint."""
        counts = json.loads((checkpoint / SEAL).read_text())
        self._total_train_tokens = counts["tokens"]
        self.learned_tokens = counts["learned_tokens"]
        self.started = time.monotonic() - counts["seconds"]

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's training; on an error, the progress bar is closed first."""
        try:
            return super().train(*args, **kwargs)
        finally:
            self.progress.end()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # Trainer checks for the end only after a step: a run resumed after its last would do one.
        if self.state.global_step >= self.state.max_steps or self._is_out_of_patience():
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """TRL's validation; training ends after it when the patience is at its end."""
        found = super().evaluate(*args, **kwargs)
        self.control.should_training_stop |= self._is_out_of_patience()
        return found

    def _is_out_of_patience(self) -> bool:
        # Counted in the log, which a checkpoint keeps, so that a resumed run ends where it would.
        losses = [entry["eval_loss"] for entry in self.state.log_history if "eval_loss" in entry]
        if self._patience is None or not losses:
            return False
        return len(losses) - 1 - losses.index(min(losses)) >= self._patience

    def lengths_of(self, dataset: Any) -> list[int]:
        """Tokens of each sample, by which samples are grouped."""
        raise NotImplementedError

    def count_learned(self, learned: torch.Tensor) -> None:
        """Add the tokens of a training batch that have a loss, a count of one process."""
        if self.model.training:
            self.learned_tokens += int(self.accelerator.gather_for_metrics(learned).sum())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's metrics without the entropy, which is not computed on a CPU and shown nowhere."""
        self._metrics["train"].pop("entropy", None)
        self._metrics["eval"].pop("entropy", None)
        super().log(logs, start_time)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: cards are made from the run's record."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(dataset)
        processes = self.accelerator.num_processes
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * processes
        # The epoch is read when iteration begins, so a resumed epoch has the order it had.
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        lengths = self.lengths_of(dataset)
        return LengthGrouped(lengths, step, seed, lambda: int(self.state.epoch or 0))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Trainer would remove older checkpoints before this one is known to be complete.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            counts = {
                "tokens": self.tokens,
                "learned_tokens": self.learned_tokens,
                "seconds": round(self.seconds, 1),
            }
            seal_checkpoint(folder, counts, limit, self.state.best_model_checkpoint)


class AssistantTrainer(Resumable, SFTTrainer):
    """SFTTrainer over samples that carry their labels (`input_ids`, `labels`)."""

    def __init__(self, args: SFTConfig, patience: int | None = None, **arguments: Any) -> None:
        # Both are done in the samples; TRL would look for messages, and for a repo.
        args = copy(args)
        args.assistant_only_loss, args.chat_template_path = False, None
        super().__init__(args, patience, **arguments)
        if self.args.device.type == "cpu":
            project_learned_only(self.model)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss, its learned tokens counted."""
        self.count_learned((inputs["labels"][:, 1:] != IGNORED).sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def lengths_of(self, dataset: Any) -> list[int]:
        """Tokens of each sample."""
        return [len(ids) for ids in dataset["input_ids"]]


class LengthGrouped(Sampler[int]):
    """Indices in an order where the samples of a step are about equally long, new every epoch.

    The step with the longest sample comes first: what does not fit fails at once. One order for
    any number of processes, as long as a step has the same samples in all.
    """

    def __init__(
        self, lengths: Sequence[int], step: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self.lengths, self.step, self.seed, self.epoch = lengths, step, seed, epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch())
        order = torch.randperm(len(self), generator=generator).tolist()
        together = self.step * _SORTED_TOGETHER
        batches = []
        for begin in range(0, len(order), together):
            chunk = sorted(order[begin : begin + together], key=self.lengths.__getitem__)
            batches += [chunk[i : i + self.step] for i in range(0, len(chunk), self.step)]
        full = [batch for batch in batches if len(batch) == self.step]
        rest = [batch for batch in batches if len(batch) < self.step]
        shuffled = torch.randperm(len(full), generator=generator).tolist()
        full = [full[i] for i in shuffled]
        longest = max(range(len(full)), key=lambda i: self.lengths[full[i][-1]], default=None)
        if longest:
            full.insert(0, full.pop(longest))
        return iter([index for batch in full + rest for index in batch])


def project_learned_only(model: Any) -> None:
    """Replace the model's forward by one that computes less than half as much on a CPU.

    TRL's head projects only the positions that have a label where Triton runs (GPUs); elsewhere it
    projects all positions to the whole vocabulary and back, in float32. The padding mask is left
    out: TRL's collator pads on the right, which causal attention of the real tokens never sees,
    and with a mask attention cannot skip what is causal anyway.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    scaled = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier")
    if any(getattr(config, name, None) is not None for name in scaled):
        return  # TRL knows how these models scale their logits
    if getattr(config, "output_router_logits", False):
        return  # and what the router of experts adds to the loss
    original = base.forward

    @functools.wraps(original)  # generation reads the names of its arguments
    def forward(*args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return original(*args, labels=labels, **kwargs)
        kwargs |= {"use_cache": False, "attention_mask": None}
        hidden = base.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        labels = labels[:, 1:]
        mask = labels != IGNORED
        head = base.get_output_embeddings()
        if _is_frozen(head):
            log_probs, top = _FrozenHead.apply(hidden[mask], head, labels[mask])
        else:
            logits = head(hidden[mask]).float()
            log_probs = -functional.cross_entropy(logits, labels[mask], reduction="none")
            top = logits.detach().argmax(-1) == labels[mask]
        zeros = torch.zeros(mask.shape, dtype=log_probs.dtype)
        return FusedCausalLMOutput(
            log_probs=zeros.masked_scatter(mask, log_probs),
            entropy=zeros,
            is_top1=zeros.masked_scatter(mask, top.float()),
            label_mask=mask,
        )

    base.forward = forward


class _FrozenHead(torch.autograd.Function):
    """Log-probabilities of labels (n), and whether each label is the likeliest token (n), from
    hidden states (n, d) and a head that is not trained.

    The gradient of each hidden state is made while its logits are there, so that there are never
    more than CPU_HEAD_ROWS rows of logits, and those once. On Gemma's head of 262,144 tokens,
    logits and gradient were measured to take three quarters of a plain cross-entropy's time.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.nn.Linear, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        weight = head.weight
        log_probs = hidden.new_empty(len(labels), dtype=torch.float32)
        top = torch.empty_like(labels, dtype=torch.bool)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for begin in range(0, len(labels), CPU_HEAD_ROWS):
            rows = slice(begin, begin + CPU_HEAD_ROWS)
            label = labels[rows]
            logits = head(hidden[rows]).float()
            highest, likeliest = logits.max(-1, keepdim=True)
            top[rows] = likeliest[:, 0] == label
            wanted = logits.gather(-1, label[:, None])
            odds = logits.sub_(highest).exp_()
            total = odds.sum(-1, keepdim=True)
            log_probs[rows] = (wanted - highest - total.log())[:, 0]
            if gradient is not None:
                expected = odds.to(weight.dtype) @ weight
                gradient[rows] = weight[label] - expected / total
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(top)
        return log_probs, top

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0][:, None].to(gradient.dtype), None, None


def _is_frozen(head: Any) -> bool:
    """Whether the head is a plain layer that is here as a whole (ZeRO-3 keeps a share of it) and
    is not trained."""
    return (
        type(head) is torch.nn.Linear
        and tuple(head.weight.shape) == (head.out_features, head.in_features)
        and not any(part.requires_grad for part in head.parameters())
    )


class Stop(TrainerCallback):
    """Ctrl-C, or a scheduler's SIGTERM: finish the step, save, stop. A second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._previous = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Handle signals from the first step on."""
        for name in self._previous:
            signal.signal(name, self._ask)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Save and stop when any process was asked to."""
        asked = torch.tensor(float(self.asked), device=args.device)
        if args.world_size > 1:
            torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        if asked > 0:
            self.asked = control.should_save = control.should_training_stop = True
        # A point on the curves is a mean since the last one, which a checkpoint does not keep.
        control.should_log |= control.should_save

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Restore the signal handlers."""
        for name, handler in self._previous.items():
            signal.signal(name, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, b"\nstopping after this step; press Ctrl-C again to stop at once\n")


class Progress(TrainerCallback):
    """Progress bar on stderr: loss, token accuracy, tokens per second, time left."""

    def __init__(self, tokens: Callable[[], int]) -> None:
        self._tokens = tokens
        self._bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the bar, from the step at which the run is resumed."""
        if state.is_world_process_zero:
            # A log file gets a line now and then, a terminal a moving bar.
            pause = 0.1 if sys.stderr.isatty() else 15.0
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc="train", mininterval=pause
            )
            self._since, self._then = time.monotonic(), self._tokens()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the newest numbers beside the bar."""
        if self._bar is not None and logs and "loss" in logs:
            rate = (self._tokens() - self._then) / (time.monotonic() - self._since)
            accuracy = logs.get("mean_token_accuracy", float("nan"))
            self._bar.set_postfix_str(
                f"loss {logs['loss']:.3f}, token accuracy {accuracy:.3f}, {rate:.0f} tokens/s",
                refresh=False,
            )

    def end(self) -> None:
        """Close the bar; its last state stays on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
