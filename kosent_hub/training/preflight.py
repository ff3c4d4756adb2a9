"""Checks in the first seconds for what would fail after an hour; all problems in one go."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi
from huggingface_hub.constants import is_offline_mode

from kosent_hub.models.data.chat_dataset import check_share, read_splits
from kosent_hub.models.machine import distributed
from kosent_hub.models.repos.adapter_files import refuse_adapter, refuse_empty
from kosent_hub.models.repos.repo import resolve
from kosent_hub.training.pairs import COLUMNS
from kosent_hub.training.planning import plan as planning
from kosent_hub.training.planning.memory import DEFAULTS, GIB, adapter, checked
from kosent_hub.training.recipe import REFUSED, REFUSED_BY_DPO
from model_card.licenses import conditions_line
from model_card.publishing.commit import writer
from model_card.publishing.errors import HubUnavailable, KoSentError, explain
from model_card.publishing.hub_ids import is_hub_id
from model_card.records import Repo

if TYPE_CHECKING:
    from kosent_hub.training.recipe import Settings
    from kosent_hub.training.samples import Counts


def check(settings: Settings) -> None:
    """Raise one KoSentError for all problems, each with its remedy; warnings go to stderr."""
    refuse([*_asked(settings), *_device(settings), *_hub(settings)])
    refuse(list(_disk(settings)))


def elsewhere(settings: Settings) -> list[str]:
    """Problems of a run on another machine with a GPU: not of this one's device and disk."""
    settings.training.use_cpu = settings.training.use_cpu and "use_cpu" in settings.asked
    return [*_asked(settings), *_hub(settings)]


def check_memory(settings: Settings, counts: Counts) -> None:
    """Raise KoSentError when the planned peak for this data does not fit the device."""
    values = DEFAULTS | settings.values({*DEFAULTS, "adapter", "trainer"})
    try:
        trusted = settings.training.trust_remote_code
        base = planning.load_base(settings.model_id, trust_remote_code=trusted)
        data = planning.from_counts(counts, "")
        processes = distributed.world_size()
        job = planning.Job(base, values, data, _this_device(settings), gpus=processes)
        needed = planning.plan_job(job)
    except KoSentError as unknown:
        print(f"memory not checked: {unknown}", file=sys.stderr)
        return
    if needed.fits:
        return
    if needed.peak_gib <= (needed.available_gib or 0):
        raise KoSentError(None, needed.suggestions[0])
    if any(way.fits for way in needed.several if way.name == _sharing(settings)):
        return
    remedies = " or ".join(needed.suggestions)
    raise KoSentError(
        None,
        f"this needs {needed.peak_gib:.1f} GiB and there are {needed.available_gib:.1f}",
        f"add {remedies}",
    )


def _sharing(settings: Settings) -> str:
    """How the launcher has the base shared out among GPUs, by the plan's names. What is quantised
    is loaded whole on each, and accelerate shares nothing out on CPUs."""
    if settings.model.load_in_4bit or settings.model.load_in_8bit or settings.training.use_cpu:
        return "DDP"
    asked = {"FSDP2": "ACCELERATE_USE_FSDP", "ZeRO-3": "ACCELERATE_USE_DEEPSPEED"}
    found = (name for name, flag in asked.items() if os.environ.get(flag, "").lower() == "true")
    return next(found, "DDP")


def refuse(problems: list[str]) -> None:
    """Raise KoSentError if there is a problem; several are listed on stderr first."""
    if len(problems) > 1 and distributed.rank() == 0:
        for number, problem in enumerate(problems, start=1):
            print(f"{number}. {problem}", file=sys.stderr)
    if problems:
        several = f"{len(problems)} problems (above), nothing was started; fix them and run again"
        raise KoSentError(None, problems[0] if len(problems) == 1 else several)


def _asked(settings: Settings) -> Iterator[str]:
    """Problems of the settings: what is missing or not supported."""
    if not settings.dataset_id:
        yield "no dataset: add --dataset_name with a folder that kosent-data built, or a Hub id"
    if not settings.model_id:
        yield "no base model: add --model_name_or_path with a Hub id"
    if not settings.model.use_peft:
        yield "use_peft is false, and this trains adapters: --use_peft true"
    refused = REFUSED | REFUSED_BY_DPO if settings.is_dpo else REFUSED
    for name, value in settings.values(refused.keys() & settings.asked).items():
        known = refused[name]
        if value is not None and value not in known.fine:
            given = json.dumps(value) if isinstance(value, bool | list | dict) else value
            yield f"--{name} {given}: {known.why}; {known.remedy}"
    yield from _combinations(settings)
    yield from _trackio(settings)
    yield from (_dpo if settings.is_dpo else _sft)(settings)
    for check in (
        lambda: checked(DEFAULTS | settings.values(DEFAULTS)),
        lambda: check_share(settings.extra.max_dropped),
        lambda: settings.chat_template,
    ):
        try:
            check()
        except (KoSentError, OSError) as error:
            yield f"{explain(error)}"
    if settings.push and not is_hub_id(settings.model_id):
        yield (
            f"a push is asked for, but the base is the folder {settings.model_id}, which nobody "
            "else has: name the base by its Hub id"
        )


def _combinations(settings: Settings) -> Iterator[str]:
    """Settings that do nothing, or that TRL refuses when all is loaded, as the others are."""
    from transformers.utils import is_liger_kernel_available

    args = settings.training
    yield from _patience(settings)
    if args.activation_offloading and args.use_cpu:
        yield "--activation_offloading true: it moves memory off a GPU, here none: leave it out"
    if args.use_liger_kernel and args.use_cpu:
        yield "--use_liger_kernel true: its kernels run on GPUs only: leave it out"
    elif args.use_liger_kernel and not is_liger_kernel_available():
        yield "--use_liger_kernel true: it is not installed: pip install liger-kernel"
    if args.liger_kernel_config and not args.use_liger_kernel:
        yield "--liger_kernel_config does nothing without --use_liger_kernel true"
    if (args.liger_kernel_config or {}).get("fused_linear_cross_entropy"):
        yield "--liger_kernel_config: fused_linear_cross_entropy is not for this loss: leave it out"
    if args.trust_remote_code and settings.push and settings.push.merged:
        yield (
            "--push_merged true loads the base once more, and never with code of its own: "
            "leave it or --trust_remote_code out"
        )


def _trackio(settings: Settings) -> Iterator[str]:
    """Curves in trackio that cannot be written, or that its variables would send elsewhere."""
    if "trackio" not in (settings.training.report_to or ()):
        return
    if find_spec("trackio") is None:
        yield "--report_to trackio: it is not installed: pip install 'trackio>=0.43'"
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        if os.environ.get(name):
            yield f"{name} is set, and curves stay on this machine: unset it"


def _sft(settings: Settings) -> Iterator[str]:
    """Settings of dialogues in rows that do nothing, and those that are for pairs."""
    args: Any = settings.training
    if args.packing and args.max_length is None:
        yield "--packing true fills rows of max_length tokens, and that is null: add --max_length"
    if args.padding_free and not args.packing:
        yield "--padding_free true is for packed rows here: add --packing true"
    if args.eval_packing and not args.packing:
        yield (
            "--eval_packing true without packing would let dialogues see each other: "
            "add --packing true, or leave it out"
        )
    if settings.extra.adapter is not None:
        yield "--adapter is what DPO goes on from: add --trainer dpo, or leave it out"


def _dpo(settings: Settings) -> Iterator[str]:
    """Settings and data that TRL's DPO cannot do anything with."""
    if Path(settings.dataset_id).is_file():
        yield (
            f"{settings.dataset_id} is a file: put it into a folder as train.jsonl (and pairs of "
            "other dialogues as validation.jsonl), and name the folder"
        )
    if "lm_head" in (settings.model.lora_target_modules or []):
        yield "--lora_target_modules lm_head: DPO in TRL would not train the head: leave it out"


def _patience(settings: Settings) -> Iterator[str]:
    """Settings under which no checkpoint is there of the step with the lowest validation loss."""
    args, patience = settings.training, settings.extra.early_stopping_patience
    if patience is None:
        return
    if patience < 1:
        yield f"--early_stopping_patience {patience}: the least is 1 validation, or leave it out"
    strategies = [str(getattr(s, "value", s)) for s in (args.eval_strategy, args.save_strategy)]
    if strategies not in (["steps", "steps"], ["epoch", "epoch"]):
        yield (
            "--early_stopping_patience needs validations and checkpoints together, and there are "
            f"eval_strategy {strategies[0]}, save_strategy {strategies[1]}: make both steps"
        )
    elif strategies[0] == "steps" and args.eval_steps and args.eval_steps % args.save_steps:
        yield (
            f"--early_stopping_patience needs a checkpoint at each validation, and eval_steps "
            f"{args.eval_steps:g} is no multiple of save_steps {args.save_steps:g}: "
            f"add --save_steps {args.eval_steps:g}"
        )


def _device(settings: Settings) -> Iterator[str]:
    """Problems of the device: no GPU, no bfloat16, several GPUs for one process."""
    import torch

    args = settings.training
    if args.use_cpu:
        if "use_cpu" not in settings.asked:
            yield (
                f"no GPU is visible, and {settings.recipe} is for one: run it where nvidia-smi "
                "shows one, or take --config smollm2-135m/cpu, or --use_cpu true to wait for long"
            )
        return
    if args.bf16 and torch.cuda.get_device_capability() < (8, 0):
        yield (
            f"{torch.cuda.get_device_name()} has no bfloat16: "
            "--dtype float16 --bf16 false --fp16 true"
        )
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        yield (
            f"{torch.cuda.device_count()} GPUs are visible to one process: launch with "
            "`accelerate launch --multi_gpu`, or show it one with CUDA_VISIBLE_DEVICES=0"
        )


def _disk(settings: Settings) -> Iterator[str]:
    """Problems of the disk: no room for the checkpoints (adapter and AdamW's moments, float32)."""
    try:
        trusted = settings.training.trust_remote_code
        base = planning.load_base(settings.model_id, trust_remote_code=trusted)
        parameters = adapter(base, DEFAULTS | settings.values(DEFAULTS)).parameters
    except KoSentError:
        return  # a base of another build
    kept = (settings.training.save_total_limit or 10) + 1
    needed = (4 + 12 * kept) * parameters / GIB + 0.1
    place = next(p for p in (settings.folder.absolute() / "x").parents if p.exists())
    free = shutil.disk_usage(place).free / GIB
    if free < needed:
        yield (
            f"{settings.folder}: {free:.1f} GiB free, checkpoints and adapter need {needed:.1f}: "
            "make room, or name another disk with --output_dir"
        )


def _hub(settings: Settings) -> Iterator[str]:
    """Problems with the Hub: base or dataset cannot be read, the repo cannot be written."""
    model, dataset, push = settings.model_id, settings.dataset_id, settings.push
    if distributed.rank() == 0 and (licence := conditions_line(model)):
        print(licence, file=sys.stderr)
    if model:
        yield from _problem(partial(_check_base, model), model)
    if dataset:
        yield from _problem(partial(_check_chat_dataset, dataset, settings), dataset)
    if push:
        if "llama" in model.lower() and not push.repo_id.split("/")[-1].startswith("Llama"):
            print(
                f"{push.repo_id}: Llama's licence wants a derivative's name to begin with "
                '"Llama"; --hub_model_id ORG/Llama-... would comply',
                file=sys.stderr,
            )
        yield from _problem(partial(_check_writable, push.repo_id), push.repo_id)


def _problem(check: Callable[[], None], where: str) -> Iterator[str]:
    """The line for an error of `check` that the user can fix; other errors are raised."""
    try:
        check()
    except HubUnavailable:
        raise  # the other checks would fail in the same way
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        yield line if where in line else f"{where}: {line}"


def _check_readable(repo_id: str, repo_type: str) -> Repo:
    """The repo; raises the Hub's own error for one that is gated, private, missing or out of
    reach."""
    found = resolve(repo_id, repo_type=repo_type)
    if not found.local and not is_offline_mode():
        HfApi().auth_check(repo_id, repo_type=repo_type)
    return found


def _check_base(model_id: str) -> None:
    """Raise the Hub's error for a base out of reach, and KoSentError for what is no base."""
    found = _check_readable(model_id, "model")
    refuse_adapter(model_id, found)
    if found.local:
        refuse_empty(model_id, found)


def _check_chat_dataset(dataset: str, settings: Settings) -> None:
    """Raise KoSentError unless the training split is there and has chat messages, or pairs."""
    if settings.is_dpo and Path(dataset).is_file():
        return  # said already
    _check_readable(dataset, "dataset")
    script = settings.script
    read_splits(
        dataset,
        script.dataset_train_split,
        "--dataset_train_split",
        config=script.dataset_config,
        config_flag="--dataset_config",
        streaming=True,
        columns=COLUMNS if settings.is_dpo else ("messages",),
    )


def _check_writable(repo_id: str) -> None:
    """Raise KoSentError when the token's role does not allow writing to that repo."""
    if not is_hub_id(repo_id):
        raise KoSentError(repo_id, "not a repo name", "write --hub_model_id ORG/NAME")
    user, owner = writer(repo_id), repo_id.split("/")[0]
    roles = {org["name"]: org.get("roleInOrg") for org in user["orgs"]} | {user["name"]: "admin"}
    if roles.get(owner, "none") in ("none", "read"):
        raise KoSentError(
            repo_id,
            f"{user['name']} may not write to {owner}",
            f"use --hub_model_id {user['name']}/{repo_id.split('/')[1]}, or ask {owner} for it",
        )


def _this_device(settings: Settings) -> planning.Gpu:
    """The device of this run as a plan takes it."""
    import torch

    if settings.training.use_cpu:
        return planning.this_cpu()
    memory = torch.cuda.get_device_properties(0).total_memory / GIB
    major, minor = torch.cuda.get_device_capability()
    return planning.Gpu(torch.cuda.get_device_name(), round(memory, 1), 1.0, major + minor / 10)
