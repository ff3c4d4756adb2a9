"""One training run, read from top to bottom: data, run folder, model, steps, records, card, push.

Settings are TRL's own dataclasses (ScriptArguments, SFTConfig or DPOConfig, ModelConfig): their
default, then the recipe, then the flag. What a run leaves is a run folder; see run_folder.py.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.models import inspection
from kosent_hub.models.chat_format import ChatFormat, Messages, UnusableDialogue, chat_format
from kosent_hub.models.data import chat_dataset
from kosent_hub.models.inspection import Inspected
from kosent_hub.models.locate import Located, ModelRef, locate
from kosent_hub.models.machine import device, distributed
from kosent_hub.models.repos.adapter_files import lora_settings
from kosent_hub.models.repos.repo import resolve
from kosent_hub.models.repos.untrusted import explained
from kosent_hub.models.tokenizer import load_tokenizer
from kosent_hub.training import pairs, preflight, run_folder
from kosent_hub.training.push import push as push_run
from kosent_hub.training.push import push_merged
from kosent_hub.training.recipe import MAY_CHANGE_ON_RESUME, as_flags, parse
from model_card import records
from model_card.publishing import session
from model_card.publishing.errors import KoSentError, next_step
from model_card.run_folder import write_card

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from kosent_hub.training.pairs import Pair
    from kosent_hub.training.recipe import Push, Settings
    from kosent_hub.training.samples import Counts, Encoded


def train(recipe: str, **fields: Any) -> records.Run:
    """The record of the run that a recipe and TRL's `fields` describe, trained in this process.

    `train("smollm2-135m/cpu", dataset_name="dataset")` is `kosent-train --config smollm2-135m/cpu
    --dataset_name dataset`: fields are named as the flags are, an interrupted run is resumed. In
    each of several processes it returns when the run is whole: card written, pushed if asked.
    Raises KoSentError for what the user can fix, and huggingface_hub's errors for what the Hub
    refuses.
    """
    if "inspect" in fields:
        raise KoSentError("inspect", "prints samples and trains nothing", "leave it out")
    flags = ["--config", recipe, *as_flags(fields)]
    settings = parse(flags)
    run(settings, flags, _say)
    return records.read(records.Run, settings.folder / records.RUN_PATH)


@dataclass(frozen=True)
class Read:
    """What a run reads: base and dataset, the chat format, and the dialogues by split.

    With DPO also the `pairs`, whose prompts and chosen replies the dialogues are, and the `adapter`
    that it goes on from, if there is one.
    """

    base: records.Repo
    dataset: records.Repo
    form: ChatFormat
    dialogues: dict[str, Sequence[Messages]]
    pairs: dict[str, Sequence[Pair]] | None = None
    adapter: Located | None = None


def inspect(settings: Settings) -> tuple[ChatFormat, list[Inspected]]:
    """The chat format, and the first samples of the training split; nothing is written."""
    data = _read(settings)
    # A pair has two halves to look at.
    limit = settings.extra.inspect * (2 if settings.is_dpo else 1)
    look: Any = pairs.inspect if settings.is_dpo else inspection.inspect
    found: list[Inspected] = []
    dropped: list[tuple[int, str]] = []
    row = -1
    for row, sample in enumerate((data.pairs or data.dialogues)["train"]):
        if len(found) >= limit:
            break
        try:
            found += look(data.form, f"train, row {row}", sample)
        except UnusableDialogue as error:
            dropped.append((row, error.what))
    share = 1 if found else settings.extra.max_dropped
    chat_dataset.report_dropped("train", dropped, row + 1, share)
    return data.form, found[:limit]


def run(settings: Settings, argv: Sequence[str], show: Callable[[object], None] = print) -> None:
    """Train as `settings` say, in a run folder that is locked against other commands.

    `argv` is recorded as the run's command. `show` gets the run folder when it is complete, and the
    URL of what is pushed.
    """
    with distributed.lock(settings.folder, "kosent_hub.train"):
        try:
            _train(settings, argv, show)
        except RuntimeError as error:
            if not distributed.lost_another(error):
                raise
            raise KoSentError(
                None,
                "another process of the training ended or is out of reach (see what it said)",
                "the same command goes on from the last checkpoint",
            ) from error


def _read(settings: Settings) -> Read:
    """What a run reads, after the checks."""
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
    dataset = resolve(settings.dataset_id, before.dataset.revision if before else None, "dataset")
    adapter = _adapter(settings, before.adapter if before else None)
    base = adapter.base if adapter else resolve(settings.model_id, revision)

    tokenizer = _tokenizer(settings, base.revision)
    form = adapter.form if adapter else chat_format(tokenizer)
    validation = args.eval_strategy != "no"
    with process.main_process_first():
        if not settings.is_dpo:
            dialogues = chat_dataset.load(settings.script, dataset.revision, validation)
            return Read(base, dataset, form, dialogues)
        found = pairs.load(settings.script, dataset.revision, validation)
    joined: dict[str, Sequence[Messages]] = {
        split: pairs.dialogues(rows) for split, rows in found.items()
    }
    return Read(base, dataset, form, joined, found, adapter)


def _adapter(settings: Settings, before: records.Repo | None) -> Located | None:
    """The adapter that a DPO training goes on from, None for a new one; `before` is where an
    interrupted run had it from. Its shape replaces what the settings say of a new one's.

    Raises KoSentError unless it is one of the base that the settings name.
    """
    name = settings.extra.adapter
    if name is None:
        return None
    trusted = settings.training.trust_remote_code
    found = locate(ModelRef(name, before.revision if before else None, trust_remote_code=trusted))
    if not found.adapter:
        raise KoSentError(
            name, "is a whole model, no adapter", f"--model_name_or_path {name}, without --adapter"
        )
    if found.base.id != resolve(settings.model_id, settings.model.model_revision).id:
        raise KoSentError(
            name,
            f"is an adapter of {found.base_id}, and the base here is {settings.model_id}",
            f"add --model_name_or_path {found.base_id}",
        )
    shape = lora_settings(name, found.repo.revision)
    for key, value in shape.items():
        setattr(settings.model, key, value)
    return found


def _tokenizer(settings: Settings, revision: str | None) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with the chat template that is asked for.

    Raises KoSentError for a model that cannot be trained so.
    """
    from transformers import AutoConfig

    model_id, args = settings.model_id, settings.training
    with explained(model_id, args.trust_remote_code):
        whole = AutoConfig.from_pretrained(
            model_id, revision=revision, trust_remote_code=args.trust_remote_code
        )
        config = whole.get_text_config()
    if args.trust_remote_code and not getattr(whole, "auto_map", None):
        _say(f"--trust_remote_code true: {model_id} has no code of its own; transformers' is used")
    _check_quantized(settings, getattr(whole, "quantization_config", None))
    if args.router_aux_loss_coef and not hasattr(config, "output_router_logits"):
        raise KoSentError(
            f"--router_aux_loss_coef {args.router_aux_loss_coef}",
            f"{model_id} has no experts that are chosen among",
            "leave it out",
        )
    return load_tokenizer(
        model_id,
        revision,
        ids=getattr(config, "vocab_size", None),
        chat_template=settings.chat_template,
        template_flag="--chat_template_path",
        trust_remote_code=args.trust_remote_code,
    )


def _check_quantized(settings: Settings, stored: Any) -> None:
    """Raise KoSentError for a base whose weights are quantised, unless it is loaded as that.

    `stored` is the quantization_config of the base's config.json.
    """
    if not stored or settings.model.load_in_4bit or settings.model.load_in_8bit:
        return
    facts = stored if isinstance(stored, dict) else stored.to_dict()
    bits = next((n for n in (4, 8) if facts.get(f"load_in_{n}bit")), None)
    if facts.get("quant_method", "bitsandbytes") == "bitsandbytes" and bits:
        raise KoSentError(
            settings.model_id,
            f"its weights are in {bits} bits (bitsandbytes)",
            f"add --load_in_{bits}bit true, or train on the model that it was made from",
        )
    raise KoSentError(
        settings.model_id,
        f"its weights are quantised ({facts.get('quant_method')}), which is not trained on here",
        "train on the model that it was made from, with --load_in_4bit true to save memory",
    )


def _encode(settings: Settings, data: Read) -> dict[str, Encoded]:
    """The samples of each split: the text of evaluation, of which the replies are learned."""
    from kosent_hub.training.samples import encode

    length, share = settings.training.max_length, settings.extra.max_dropped
    write: Any = encode if data.pairs is None else pairs.encode
    encoded = {}
    for split, rows in (data.pairs or data.dialogues).items():
        encoded[split] = write(data.form, rows, length, split=split, max_dropped=share)
        _report(split, encoded[split].counts, length, are_pairs=settings.is_dpo)
    return encoded


def _train(settings: Settings, argv: Sequence[str], show: Callable[[object], None]) -> None:
    """The run itself, from the data to the pushed repo."""
    from accelerate import PartialState
    from trl import get_quantization_config

    from kosent_hub.models.positions import last_position
    from kosent_hub.models.weights.load import load_causal_model
    from kosent_hub.training.checkpoints import PushCheckpoints
    from kosent_hub.training.run_record import record
    from kosent_hub.training.sample_replies import SampleReplies
    from kosent_hub.training.samples import density

    data = _read(settings)
    encoded = _encode(settings, data)
    process, args = PartialState(), settings.training
    model_id, folder = settings.model_id, settings.folder
    has_validation = "validation" in encoded
    if not has_validation:
        if args.load_best_model_at_end:
            raise KoSentError(
                settings.dataset_id,
                "has no validation split, so no checkpoint is known to be the best",
                "leave out --early_stopping_patience and --load_best_model_at_end",
            )
        args.eval_strategy, args.eval_on_start = "no", False
    if args.report_to and "tensorboard" not in args.report_to:
        args.report_to = [*args.report_to, "tensorboard"]
    # Scores of the validation split come from the loss; whole logits would fill the memory.
    args.prediction_loss_only = True

    counts = encoded["train"].counts
    preflight.check_memory(settings, counts)

    # The run folder: new, or resumed.
    fixed = settings.values(settings.asked - MAY_CHANGE_ON_RESUME)
    fixed["effective_batch_size"] = settings.batch * process.num_processes
    begin = data.adapter.repo if data.adapter else None
    facts = run_folder.Facts(data.base, data.dataset, encoded["train"].sha256, fixed, begin)
    with process.main_process_first():
        if process.is_main_process:
            run_folder.claim(folder, facts)
        elif run_folder.unfinished(folder) is None:
            raise KoSentError(
                folder,
                "the first process's run folder is not to be seen by this one",
                "name a folder on a disk that all machines share",
            )
    if run_folder.has_run_record(folder):  # interrupted after its last step: card or push are left
        if process.is_main_process:
            _conclude(folder, settings.push, show)
        process.wait_for_everyone()
        return
    checkpoint = run_folder.last_checkpoint(folder)
    if checkpoint is not None:
        run_folder.check_state(checkpoint)
    args.eval_on_start = args.eval_on_start and checkpoint is None

    # The model and the loop.
    quantization = get_quantization_config(settings.model)
    model = load_causal_model(
        model_id,
        data.base.revision,
        str(settings.model.dtype),
        trust_remote_code=args.trust_remote_code,
        attn_implementation=settings.model.attn_implementation or device.attention(),
        quantization_config=quantization,
        # A quantised model cannot be moved afterwards; DeepSpeed and FSDP place the others.
        device_map={"": process.device} if quantization else None,
    )
    _check_positions(settings, counts, last_position(model))
    trainer = _trainer(settings, data, model, encoded)
    if checkpoint is not None:
        _say(f"going on from {checkpoint}")
        trainer.resume(checkpoint)
    base_name = _relative(model_id)
    system_prompt = chat_dataset.system_prompt(data.dialogues["train"])
    # A model in parts would need all processes for each token.
    if has_validation and not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        autocast = trainer.compute_loss_context_manager
        validation = data.dialogues["validation"]
        trainer.add_callback(SampleReplies(data.form, system_prompt, validation, folder, autocast))
    if settings.push is not None and settings.push.checkpoints:
        trainer.add_callback(PushCheckpoints(settings.push, data.base, base_name))
    with redirect_stdout(sys.stderr):  # trackio prints where its curves are
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
                rows={split: found.counts.dialogues for split, found in encoded.items()},
                source=chat_dataset.corpus(settings.dataset_id, data.dataset.revision),
                density=density(data.form.tokenizer, data.dialogues["train"]),
            ),
            counts=counts,
            system_prompt=system_prompt,
            form=data.form,
            trainer=trainer,
            adapter=begin,
        )
        run_folder.write_records(folder, finished, trainer.state.log_history)
        _conclude(folder, settings.push, show)
    process.wait_for_everyone()
    trainer.end()


def _trainer(settings: Settings, data: Read, model: Any, encoded: Mapping[str, Encoded]) -> Any:
    """The trainer of these samples, with the adapter that it trains on the model."""
    from peft import NoMatchingPeftModuleError
    from trl import get_peft_config

    from kosent_hub.training.planning.model_sizes import outside_text
    from kosent_hub.training.preference_trainer import PreferenceTrainer, with_adapter
    from kosent_hub.training.trainer import AssistantTrainer

    lora: Any = None
    if data.adapter is None:
        lora = get_peft_config(settings.model)
        lora.exclude_modules = outside_text(model)
    else:
        model = with_adapter(model, data.adapter)
    if settings.is_dpo:
        begin = f"{data.adapter.model_id} as it is now" if data.adapter else settings.model_id
        _say(f"DPO; the reference is {begin}")
    kind: Any = PreferenceTrainer if settings.is_dpo else AssistantTrainer
    try:
        return kind(
            model=model,
            args=settings.training,
            patience=settings.extra.early_stopping_patience,
            train_dataset=encoded["train"].samples,
            eval_dataset=encoded["validation"].samples if "validation" in encoded else None,
            processing_class=data.form.tokenizer,
            peft_config=lora,
        )
    except NoMatchingPeftModuleError:
        raise KoSentError(
            None,
            f"lora_target_modules {settings.model.lora_target_modules!r} is on no layer of "
            f"{settings.model_id}",
            "use --lora_target_modules all-linear",
        ) from None


def _check_positions(settings: Settings, counts: Counts, positions: int | None) -> None:
    """Raise KoSentError if a sample is longer than the base's table of positions, if it has one."""
    longest = min(counts.longest, settings.training.max_length or counts.longest)
    if positions is not None and longest > positions:
        raise KoSentError(
            settings.model_id,
            f"has {positions} positions, and the longest sample has {longest} tokens",
            f"give --max_length {positions}",
        )


def _relative(model_id: str) -> str:
    """The base as the user named it; an absolute folder's path from here."""
    return os.path.relpath(model_id) if Path(model_id).is_absolute() else model_id


def _report(split: str, counts: Counts, max_length: int | None, *, are_pairs: bool) -> None:
    """Print the sizes of a split, and what `max_length` cuts off; raise KoSentError for none."""
    if are_pairs:
        _say(
            f"{split}: {counts.samples:,} pairs, {counts.tokens:,} tokens, {counts.learned:,} of "
            f"them in the replies, the longest {counts.longest:,}"
        )
        if counts.dropped:
            _say(f"{split}: {counts.dropped:,} pairs do not fit max_length {max_length:,}")
        if not counts.samples:
            raise KoSentError(None, f"no pair of the {split} split fits", "raise --max_length")
        return
    kind = "dialogues" if counts.samples + counts.dropped == counts.dialogues else "samples"
    samples = "" if kind == "dialogues" else f"{counts.samples:,} samples (one a reply), "
    _say(
        f"{split}: {counts.dialogues:,} dialogues, {samples}{counts.tokens:,} tokens, "
        f"{counts.learned:,} of them learned ({counts.learned / max(counts.tokens, 1):.0%}), "
        f"the longest {counts.longest:,}"
    )
    if counts.shortened or counts.dropped:
        _say(
            f"{split}: max_length {max_length:,} shortens {counts.shortened:,} {kind} by whole "
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
    again = f"kosent-train push {shlex.quote(str(folder))} --repo-id {push.repo_id}"
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
