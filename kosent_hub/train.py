"""The training recipe, read from top to bottom: `accelerate launch -m kosent_hub.train`.

Settings are TRL's own dataclasses (ScriptArguments, SFTConfig, ModelConfig): their default, then
the recipe, then the flag. What comes out is a run folder; see run_folder.py.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from model_card.publishing.errors import KoSentError, next_step, run_command

if TYPE_CHECKING:
    from kosent_hub.models.encoding import Counts
    from kosent_hub.training.recipe import Push, Settings

HELP = """usage: accelerate launch -m kosent_hub.train --config RECIPE [--any_field value ...]

Train a LoRA adapter on the assistant's turns of a chat dataset.

  --config RECIPE           a recipe file, or a packaged one:
                            {recipes}
  --dataset_name DATASET    a dataset folder or Hub id with a `messages` column
  --model_name_or_path ID   another base model than the recipe's
  --output_dir DIR          the run folder; on an unfinished one the same command goes on
  --inspect N               print N samples, what is learned in [[ ]], and stop
  --push_to_hub true --hub_model_id ORG/NAME [--hub_private_repo false]
                            push adapter, tokenizer, records and card when done (private);
                            --push_merged true: the merged weights too, to ORG/NAME-merged;
                            --hub_strategy checkpoint: each checkpoint's adapter while it
                            trains, to the branch `checkpoints`

Every other field of TRL's ScriptArguments, SFTConfig and ModelConfig is a flag too; `trl sft
--help` lists them. A flag overrides the recipe, the recipe overrides TRL's default.
What a recipe needs: kosent-plan RECIPE --gpu NAME"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `python -m kosent_hub.train`."""
    flags = sys.argv[1:] if argv is None else list(argv)
    return run_command("kosent_hub.train", lambda _: train(flags))


def train(argv: Sequence[str]) -> None:
    """Train as `argv` says; raises KoSentError for everything the user can mend."""
    from kosent_hub.models import distributed
    from kosent_hub.training import recipe

    if {"-h", "--help"} & set(argv):
        print(HELP.format(recipes=", ".join(recipe.packaged())))
        return
    _quiet()
    settings = recipe.parse(argv)
    if settings.token:
        os.environ["HF_TOKEN"] = settings.token
    looks = settings.extra.inspect  # and writes nothing
    with nullcontext() if looks else distributed.holding(settings.folder, "kosent_hub.train"):
        _train(settings, argv)


def _train(settings: Settings, argv: Sequence[str]) -> None:
    """The run itself, in a folder that no other run is writing into."""
    from accelerate import PartialState
    from datasets import Dataset
    from peft import NoMatchingPeftModuleError
    from trl import get_peft_config, get_quantization_config

    from kosent_hub.models import chat_dataset, device, encoding
    from kosent_hub.models.load import load_base
    from kosent_hub.models.repo import resolve
    from kosent_hub.models.tokenizer import load_tokenizer
    from kosent_hub.training import preflight, run_folder
    from kosent_hub.training.checkpoints import PushCheckpoints
    from kosent_hub.training.recipe import MAY_CHANGE_ON_RESUME
    from kosent_hub.training.run_record import record
    from kosent_hub.training.trainer import AssistantTrainer
    from model_card import records
    from model_card.publishing import session

    session.install()
    process, args = PartialState(), settings.training
    model_id, dataset_id, folder = settings.model_id, settings.dataset_id, settings.folder
    device.use_all_cores()
    preflight.check(settings)

    # An interrupted run goes on with the commits it began with, whatever was pushed since.
    before = run_folder.unfinished(folder)
    base = resolve(model_id, before.base.revision if before else settings.model.model_revision)
    source = resolve(dataset_id, before.dataset.revision if before else None, "dataset")

    # The data: the same text as in evaluation, of which the assistant's turns are learned.
    tokenizer = load_tokenizer(model_id, base.revision)
    encoder = encoding.encoder(tokenizer)
    with process.main_process_first():
        splits = chat_dataset.load(settings.script, source.revision, args.eval_strategy != "no")
    samples, counts = {}, {}
    for name, dialogues in splits.items():
        samples[name], counts[name] = encoder.fit(dialogues, args.max_length)
        _report(name, counts[name], args.max_length)
    if settings.extra.inspect:
        for sample in samples["train"][: settings.extra.inspect]:
            print(encoding.show(tokenizer, sample), end="\n\n")
        return
    if "validation" not in samples:
        args.eval_strategy, args.eval_on_start = "no", False
    if args.report_to and "tensorboard" not in args.report_to:
        args.report_to = [*args.report_to, "tensorboard"]
    # Scores of the validation split come from the loss; whole logits would fill the memory.
    args.prediction_loss_only = True

    preflight.check_memory(settings, counts["train"])

    # The run folder: new, or taken up again.
    facts = run_folder.Facts(
        base,
        source,
        encoding.digest(samples["train"]),
        settings.values(settings.asked - MAY_CHANGE_ON_RESUME),
    )
    with process.main_process_first():
        if process.is_main_process:
            run_folder.begin(folder, facts)
    if run_folder.trained(folder):  # stopped after its last step, with the card or a push to do
        if process.is_main_process:
            _conclude(folder, settings.push)
        return
    checkpoint = run_folder.last_checkpoint(folder)
    args.eval_on_start = args.eval_on_start and checkpoint is None

    # The model and the loop.
    model = load_base(
        model_id,
        base.revision,
        dtype=str(settings.model.dtype),
        attention=settings.model.attn_implementation or device.attention(),
        quantization=get_quantization_config(settings.model),
    )
    try:
        trainer = AssistantTrainer(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(samples["train"]),
            eval_dataset=Dataset.from_list(samples.get("validation", [])) or None,
            processing_class=tokenizer,
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
    if settings.push is not None and settings.push.checkpoints:
        trainer.add_callback(PushCheckpoints(settings.push, _typed(model_id), base.revision))
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
        run_folder.name_base(folder, _typed(model_id), base.revision)
        run = record(
            settings,
            argv,
            base=base,
            dataset=records.Dataset(
                source.id,
                source.revision,
                source.local,
                rows={name: count.samples for name, count in counts.items()},
                source=chat_dataset.corpus(dataset_id, source.revision),
            ),
            counts=counts["train"],
            system_prompt=chat_dataset.system_prompt(splits["train"]),
            trainer=trainer,
        )
        run_folder.finish(folder, run, trainer.state.log_history)
        _conclude(folder, settings.push)
    process.wait_for_everyone()
    trainer.end()


def _quiet() -> None:
    """Silence what libraries say to their developers, not to who trains with them."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    threading.excepthook = _tell_of_thread
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    """The traceback of a thread, but for TensorBoard's, whose errors the trainer raises again."""
    if not type(ended.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(ended)


def _typed(model_id: str) -> str:
    """The base as the user named it; an absolute folder as seen from here."""
    return os.path.relpath(model_id) if Path(model_id).is_absolute() else model_id


def _report(split: str, counts: Counts, max_length: int | None) -> None:
    """Say what a split comes to, and what `max_length` cost."""
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


def _conclude(folder: Path, push: Push | None) -> None:
    """Write the card, push if asked, and say where everything is and what comes next."""
    from kosent_hub.push import push as push_run
    from kosent_hub.push import push_merged
    from kosent_hub.training import run_folder
    from model_card.run_folder import write_card

    write_card(folder, None, None)
    print(folder)
    if push is None:
        run_folder.end(folder)
        _say(f"trained; score it: kosent-eval --model {shlex.quote(str(folder))} --dataset DATASET")
        return
    again = f"python -m kosent_hub.push {shlex.quote(str(folder))} --repo-id {push.repo_id}"
    again += ("" if push.private else " --public") + (" --merged" if push.merged else "")
    try:
        with next_step(f"push the run, which is whole in {folder}: {again}"):
            print(push_run(folder, push.repo_id, private=push.private))
            if push.merged:
                print(push_merged(folder, f"{push.repo_id}-merged", private=push.private))
    except KoSentError:
        raise
    except BaseException:
        _say(f"the run is whole in {folder}; only the push failed. To repeat just that: {again}")
        raise
    run_folder.end(folder)
    _say(f"pushed; score it: kosent-eval --model {push.repo_id} --dataset DATASET")


def _say(text: str) -> None:
    """A line on stderr, from one process of several."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
