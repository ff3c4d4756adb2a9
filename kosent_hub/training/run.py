"""One training run, read from top to bottom: data, run folder, model, steps, records, card, push.

Settings are TRL's own dataclasses (ScriptArguments, SFTConfig, ModelConfig): their default, then
the recipe, then the flag. What a run leaves is a run folder; see run_folder.py.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.models import chat_dataset, device, distributed, encoding
from kosent_hub.models.repo import resolve
from kosent_hub.models.tokenizer import load_tokenizer
from kosent_hub.training import preflight, run_folder
from kosent_hub.training.push import push as push_run
from kosent_hub.training.push import push_merged
from kosent_hub.training.recipe import MAY_CHANGE_ON_RESUME, as_flags, parse
from model_card import records
from model_card.publishing import session
from model_card.publishing.errors import KoSentError, next_step
from model_card.run_folder import write_card

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from kosent_hub.models.encoding import Counts, Sample
    from kosent_hub.models.tokenizer import Messages
    from kosent_hub.training.recipe import Push, Settings


def train(recipe: str, **fields: Any) -> records.Run:
    """The record of the run that a recipe and TRL's `fields` describe, trained in this process.

    `train("smollm2-135m/cpu", dataset_name="dataset")` is `python -m kosent_hub.train --config
    smollm2-135m/cpu --dataset_name dataset`: fields are named as the flags are, an interrupted run
    is resumed. In each of several processes it returns when the run is whole: card written, pushed
    if asked. Raises KoSentError for what the user can fix, and huggingface_hub's errors for what
    the Hub refuses.
    """
    if "inspect" in fields:
        raise KoSentError("inspect", "prints samples and trains nothing", "leave it out")
    flags = ["--config", recipe, *as_flags(fields)]
    settings = parse(flags)
    run(settings, flags, _say)
    return records.read(records.Run, settings.folder / records.RUN_PATH)


@dataclass(frozen=True)
class Prepared:
    """What a run reads, by split: dialogues, and samples that are encoded, cut and counted."""

    base: records.Repo
    dataset: records.Repo
    tokenizer: PreTrainedTokenizerBase
    dialogues: dict[str, list[Messages]]
    samples: dict[str, list[Sample]]
    counts: dict[str, Counts]


def inspect(settings: Settings) -> list[str]:
    """The texts of the first samples, what is learned in `[[ ]]`; nothing is written."""
    data = _prepare(settings)
    shown = data.samples["train"][: settings.extra.inspect]
    return [encoding.show(data.tokenizer, sample) for sample in shown]


def run(settings: Settings, argv: Sequence[str], show: Callable[[object], None] = print) -> None:
    """Train as `settings` say, in a run folder that is locked against other commands.

    `argv` is recorded as the run's command. `show` gets the run folder when it is complete, and the
    URL of what is pushed.
    """
    with distributed.lock(settings.folder, "kosent_hub.train"):
        _train(settings, argv, show)


def _prepare(settings: Settings) -> Prepared:
    """The data, after the checks: the text of evaluation, of which replies are learned."""
    from accelerate import PartialState

    if settings.token:
        os.environ["HF_TOKEN"] = settings.token
    session.install()
    process, args = PartialState(), settings.training
    device.use_all_cores()
    preflight.check(settings)

    # An interrupted run reads the commits that it began with, whatever was pushed since.
    before = run_folder.unfinished(settings.folder)
    revision = before.base.revision if before else settings.model.model_revision
    base = resolve(settings.model_id, revision)
    dataset = resolve(settings.dataset_id, before.dataset.revision if before else None, "dataset")

    tokenizer = load_tokenizer(settings.model_id, base.revision)
    encoder = encoding.encoder(tokenizer)
    with process.main_process_first():
        dialogues = chat_dataset.load(settings.script, dataset.revision, args.eval_strategy != "no")
    samples, counts = {}, {}
    for split, messages in dialogues.items():
        samples[split], counts[split] = encoder.fit(messages, args.max_length)
        _report(split, counts[split], args.max_length)
    return Prepared(base, dataset, tokenizer, dialogues, samples, counts)


def _train(settings: Settings, argv: Sequence[str], show: Callable[[object], None]) -> None:
    """The run itself, from the data to the pushed repo."""
    from accelerate import PartialState
    from datasets import Dataset
    from peft import NoMatchingPeftModuleError
    from trl import get_peft_config, get_quantization_config

    from kosent_hub.models.load import load_causal_model
    from kosent_hub.training.checkpoints import PushCheckpoints
    from kosent_hub.training.run_record import record
    from kosent_hub.training.trainer import AssistantTrainer

    data = _prepare(settings)
    process, args = PartialState(), settings.training
    model_id, folder = settings.model_id, settings.folder
    if "validation" not in data.samples:
        args.eval_strategy, args.eval_on_start = "no", False
    if args.report_to and "tensorboard" not in args.report_to:
        args.report_to = [*args.report_to, "tensorboard"]
    # Scores of the validation split come from the loss; whole logits would fill the memory.
    args.prediction_loss_only = True

    preflight.check_memory(settings, data.counts["train"])

    # The run folder: new, or resumed.
    fixed = settings.values(settings.asked - MAY_CHANGE_ON_RESUME)
    digest = encoding.digest(data.samples["train"])
    facts = run_folder.Facts(data.base, data.dataset, digest, fixed)
    with process.main_process_first():
        if process.is_main_process:
            run_folder.claim(folder, facts)
    if run_folder.has_run_record(folder):  # interrupted after its last step: card or push are left
        if process.is_main_process:
            _conclude(folder, settings.push, show)
        process.wait_for_everyone()
        return
    checkpoint = run_folder.last_checkpoint(folder)
    args.eval_on_start = args.eval_on_start and checkpoint is None

    # The model and the loop.
    quantization = get_quantization_config(settings.model)
    model = load_causal_model(
        model_id,
        data.base.revision,
        str(settings.model.dtype),
        attn_implementation=settings.model.attn_implementation or device.attention(),
        quantization_config=quantization,
        # A quantised model cannot be moved afterwards; DeepSpeed and FSDP place the others.
        device_map={"": process.device} if quantization else None,
    )
    try:
        trainer = AssistantTrainer(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(data.samples["train"]),
            eval_dataset=Dataset.from_list(data.samples.get("validation", [])) or None,
            processing_class=data.tokenizer,
            peft_config=get_peft_config(settings.model),
        )
    except NoMatchingPeftModuleError:
        raise KoSentError(
            None,
            f"lora_target_modules {settings.model.lora_target_modules!r} is on no layer of "
            f"{model_id}",
            "use --lora_target_modules all-linear",
        ) from None
    if checkpoint is not None:
        _say(f"going on from {checkpoint}")
        trainer.resume(checkpoint)
    base_name = _relative(model_id)
    if settings.push is not None and settings.push.checkpoints:
        trainer.add_callback(PushCheckpoints(settings.push, base_name, data.base.revision))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.stop.asked:
        raise KoSentError(
            None,
            f"stopped and saved after step {trainer.state.global_step} of "
            f"{trainer.state.max_steps}",
            "the same command goes on from there",
        )

    # What it leaves behind.
    trainer.save_model(str(folder))
    if process.is_main_process:
        run_folder.name_base(folder, base_name, data.base.revision)
        finished = record(
            settings,
            argv,
            base=data.base,
            dataset=records.Dataset(
                data.dataset.id,
                data.dataset.revision,
                data.dataset.local,
                rows={split: count.samples for split, count in data.counts.items()},
                source=chat_dataset.corpus(settings.dataset_id, data.dataset.revision),
            ),
            counts=data.counts["train"],
            system_prompt=chat_dataset.system_prompt(data.dialogues["train"]),
            trainer=trainer,
        )
        run_folder.write_records(folder, finished, trainer.state.log_history)
        _conclude(folder, settings.push, show)
    process.wait_for_everyone()
    trainer.end()


def _relative(model_id: str) -> str:
    """The base as the user named it; an absolute folder's path from here."""
    return os.path.relpath(model_id) if Path(model_id).is_absolute() else model_id


def _report(split: str, counts: Counts, max_length: int | None) -> None:
    """Print the sizes of a split, and what `max_length` cuts off; raise KoSentError for none."""
    _say(
        f"{split}: {counts.samples:,} dialogues, {counts.tokens:,} tokens, "
        f"{counts.learned:,} of them learned ({counts.learned / max(counts.tokens, 1):.0%}), "
        f"the longest {counts.longest:,}"
    )
    if counts.shortened or counts.dropped:
        _say(
            f"{split}: max_length {max_length:,} shortens {counts.shortened:,} dialogues by whole "
            f"turns and drops {counts.dropped:,} whose first reply does not fit"
        )
    if not counts.samples:
        raise KoSentError(
            None, f"the {split} split has no dialogue that fits", "raise --max_length"
        )


def _conclude(folder: Path, push: Push | None, show: Callable[[object], None]) -> None:
    """Write the card, push if asked, show folder and URL, and print the next command."""
    write_card(folder, None, None)
    show(folder)
    if push is None:
        run_folder.release(folder)
        _say(f"trained; score it: kosent-eval --model {shlex.quote(str(folder))} --dataset DATASET")
        return
    again = f"python -m kosent_hub.push {shlex.quote(str(folder))} --repo-id {push.repo_id}"
    again += ("" if push.private else " --public") + (" --merged" if push.merged else "")
    try:
        with next_step(f"push the run, which is whole in {folder}: {again}"):
            show(push_run(folder, push.repo_id, private=push.private))
            if push.merged:
                show(push_merged(folder, f"{push.repo_id}-merged", private=push.private))
    except KoSentError:
        raise
    except BaseException:
        _say(f"the run is whole in {folder}; only the push failed. To repeat just that: {again}")
        raise
    run_folder.release(folder)
    _say(f"pushed; score it: kosent-eval --model {push.repo_id} --dataset DATASET")


def _say(text: object) -> None:
    """Print a line on stderr, from one process of the group."""
    if distributed.rank() == 0:
        print(text, file=sys.stderr, flush=True)
