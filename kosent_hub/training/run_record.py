"""The record of a finished training run: what goes into `kosent/run.json`."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.models.machine import device, distributed
from kosent_hub.models.machine.versions import versions
from kosent_hub.training.recipe import ALWAYS_RECORDED, NEVER_RECORDED
from model_card import records

if TYPE_CHECKING:
    from transformers import TrainerState, TrainingArguments

    from kosent_hub.models.chat_format import ChatFormat
    from kosent_hub.training.recipe import Settings
    from kosent_hub.training.samples import Counts
    from kosent_hub.training.trainer import Resumable

_LAUNCHED = "accelerate launch -m kosent_hub.train"
CURVES = ("loss", "mean_token_accuracy", "rewards/margins", "rewards/accuracies")
FINAL = (*CURVES, *(f"eval_{name}" for name in CURVES))


def record(
    settings: Settings,
    argv: Sequence[str],
    *,
    base: records.Repo,
    dataset: records.Dataset,
    counts: Counts,
    system_prompt: str | None,
    form: ChatFormat,
    trainer: Resumable,
    adapter: records.Repo | None,
) -> records.Run:
    """The run's record. `counts` are the training split's, `adapter` is what it went on from."""
    args, state = settings.training, trainer.state
    model = trainer.accelerator.unwrap_model(trainer.model)
    trainable, total = model.get_nb_trainable_parameters()
    if "ref" in model.peft_config:  # DPO's copy of the adapter, which is no part of the model
        total -= trainable
    name = settings.push.repo_id.split("/")[-1] if settings.push else settings.folder.name
    config = settings.values((ALWAYS_RECORDED | settings.asked) - NEVER_RECORDED)
    if config.get("chat_template_path"):
        config["chat_template_path"] = Path(config["chat_template_path"]).name
    return records.Run(
        model_name=name,
        base_model=base,
        dataset=dataset,
        recipe=settings.recipe,
        config=config,
        template_sha256=form.facts["template_sha256"],
        parameters={"total": int(total), "trainable": int(trainable)},
        training=records.Training(
            steps=state.global_step,
            epochs=round(float(state.epoch or 0), 4),
            samples=round(float(state.epoch or 0) * counts.samples),
            tokens=trainer.tokens,
            learned_tokens=trainer.learned_tokens,
            effective_batch_size=settings.batch * trainer.accelerator.num_processes,
            max_length=args.max_length or counts.longest,
            seconds=round(trainer.seconds, 1),
            seed=args.seed,
            final=_final(state.log_history),
            kept_step=_kept_step(args, state),
        ),
        hardware=records.Hardware(
            device=device.name(args.use_cpu),
            processes=trainer.accelerator.num_processes,
            peak_memory_gib=device.peak_memory_gib(args.use_cpu),
        ),
        versions=versions("accelerate", "bitsandbytes", "datasets", "trl"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command(argv),
        quantization=_quantization(settings),
        system_prompt=system_prompt,
        template_kwargs=form.arguments,
        chat_format=form.facts,
        adapter=adapter,
    )


def command(argv: Sequence[str]) -> str:
    """The command line as typed, with `...` for a token and absolute paths cut to their names."""
    shown, hidden = [], False
    for part in argv:
        name, equals, value = part.partition("=")
        if hidden or name.replace("-", "_") == "__hub_token":
            shown.append("..." if hidden else f"{name}=..." if equals else part)
            hidden = not hidden and not equals
        elif Path(value if equals else part).is_absolute():
            shown.append(name + equals + Path(value).name if equals else Path(part).name)
        else:
            shown.append(part)
    program = "kosent-train" if distributed.world_size() == 1 else _LAUNCHED
    return f"{program} {shlex.join(shown)}"


def _final(log_history: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """The last logged value of each curve."""
    last = {key: entry[key] for entry in log_history for key in FINAL if key in entry}
    return {key: round(float(last[key]), 6) for key in FINAL if key in last}


def _kept_step(args: TrainingArguments, state: TrainerState) -> int | None:
    """The step whose weights are kept, None for the last."""
    kept = state.best_global_step if args.load_best_model_at_end else None
    return kept if kept != state.global_step else None


def _quantization(settings: Settings) -> str | None:
    if settings.model.load_in_4bit:
        return settings.model.bnb_4bit_quant_type
    return "int8" if settings.model.load_in_8bit else None
