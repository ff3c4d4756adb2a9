"""A recipe and the flags after it, as TRL's dataclasses: default, then recipe, then flag."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from kosent_hub.models.data.chat_dataset import MAX_DROPPED
from kosent_hub.models.machine.device import compute_dtype
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.publishing.hub_ids import is_hub_id

if TYPE_CHECKING:
    from trl import DPOConfig, ModelConfig, ScriptArguments, SFTConfig

RECIPES = Path(str(resources.files("kosent_hub") / "recipes"))

# The fate of each setting. A setting in none of these three sets is recorded if the recipe or a
# flag sets it, and must not change when an interrupted run is resumed. What could have no effect,
# or would change the text that is learned, is in REFUSED.

# Written into run.json even at TRL's default: a reader needs them to repeat the run.
ALWAYS_RECORDED = frozenset({
    "bf16", "dtype", "fp16", "gradient_accumulation_steps", "gradient_checkpointing",
    "learning_rate", "load_in_4bit", "load_in_8bit", "lora_alpha", "lora_dropout", "lora_r",
    "lora_target_modules", "lr_scheduler_type", "max_grad_norm", "max_length", "max_steps",
    "num_train_epochs", "optim", "packing", "per_device_train_batch_size",
    "train_sampling_strategy", "use_rslora", "warmup_steps", "weight_decay",
})  # fmt: skip
# Never in run.json's `config`: secrets, paths of one machine, what other fields of run.json hold.
NEVER_RECORDED = frozenset({
    "adapter", "dataset_name", "hub_model_id", "hub_private_repo", "hub_strategy", "hub_token",
    "inspect", "logging_dir", "model_name_or_path", "model_revision", "output_dir", "project",
    "push_merged", "push_to_hub", "resume_from_checkpoint", "run_name", "seed",
})  # fmt: skip
# An interrupted run may be resumed with another value: the weights do not depend on it. Base and
# dataset are compared by their commits and by the samples' digest instead, the batch by what a step
# has in all processes together.
MAY_CHANGE_ON_RESUME = frozenset({
    "adapter", "chat_template_path", "dataset_name", "disable_tqdm", "eval_on_start", "eval_steps",
    "eval_strategy", "gradient_accumulation_steps", "hub_model_id", "hub_private_repo",
    "hub_strategy", "hub_token", "inspect", "logging_steps", "max_dropped", "model_name_or_path",
    "model_revision", "output_dir", "per_device_train_batch_size", "project", "push_merged",
    "push_to_hub", "report_to", "run_name", "save_steps", "save_strategy", "save_total_limit",
})  # fmt: skip


@dataclass(frozen=True)
class Refused:
    """Why a setting is refused, what to do instead, and its values that say what is done anyway."""

    why: str
    remedy: str = "leave it out"
    fine: tuple[Any, ...] = ()


# Settings for what TRL and transformers do not do here: samples have their token ids and labels
# before TRL sees them, the trainer has no repo, and a validation has only a loss.
_TEMPLATE_ENDS = "replies end as the chat template writes it"
_ONE_COLUMN = "dialogues are read from the column `messages`"
_TWO_COLUMNS = "samples have the columns input_ids and labels, and nothing else"
_NO_SCRIPT = "a training is all that this command does"
_LOSS_ONLY = "a validation computes loss and token accuracy, and keeps no logits"
_OWN_PUSH = "the run is pushed whole when it is done"
_LOCAL_CURVES = "curves stay on this machine; what a finished run has is pushed with it"
_REPLIES_ONLY = "only replies and what ends them are learned, never the whole text"
REFUSED = {
    "assistant_only_loss": Refused(_REPLIES_ONLY, fine=(True,)),
    "batch_eval_metrics": Refused(_LOSS_ONLY, fine=(False,)),
    "completion_only_loss": Refused(_REPLIES_ONLY, fine=(True,)),
    "dataset_kwargs": Refused(
        "samples are made before TRL sees a dataset",
        "prepare the data with kosent-data build",
    ),
    "dataset_num_proc": Refused(
        "dialogues are encoded on all cores that this process may use",
        "leave it out, or limit the cores with taskset",
    ),
    "dataset_streaming": Refused("the data is counted before training", fine=(False,)),
    "dataset_test_split": Refused(
        "no test split is read during training", "name it to kosent-eval, with --split"
    ),
    "dataset_text_field": Refused(_ONE_COLUMN, "give the dataset that column"),
    "do_eval": Refused(_NO_SCRIPT, "use --eval_strategy steps or --eval_strategy no"),
    "do_predict": Refused(_NO_SCRIPT, "use kosent-eval", fine=(False,)),
    "do_train": Refused(_NO_SCRIPT, fine=(True,)),
    "eos_token": Refused(_TEMPLATE_ENDS, "give another template with --chat_template_path FILE"),
    "eval_do_concat_batches": Refused(_LOSS_ONLY, fine=(True,)),
    "eval_use_gather_object": Refused(_LOSS_ONLY, fine=(False,)),
    "hub_always_push": Refused(
        _OWN_PUSH, "use --hub_strategy checkpoint to push while it trains", fine=(False,)
    ),
    "hub_revision": Refused(_OWN_PUSH, "use kosent-train push when it is done"),
    "ignore_bias_buffers": Refused("nothing here reads it", fine=(False,)),
    "include_for_metrics": Refused(_LOSS_ONLY, fine=([],)),
    "label_names": Refused(_TWO_COLUMNS, fine=(["labels"],)),
    "length_column_name": Refused("lengths are counted from the samples"),
    "lora_task_type": Refused("this trains causal language models", fine=("CAUSAL_LM",)),
    "model_init_kwargs": Refused(
        "the model is loaded before TRL sees it",
        "use the flags that there are: --dtype, --attn_implementation, --model_revision",
    ),
    "packing_strategy": Refused(
        "it would cut replies in two and let dialogues see each other",
        "use --packing_strategy bfd",
        fine=("bfd", "bfd_split"),
    ),
    "pad_token": Refused(
        "padding is neither learned nor seen, and the tokenizer's own token is used",
    ),
    "prediction_loss_only": Refused(_LOSS_ONLY, fine=(True,)),
    "remove_unused_columns": Refused(_TWO_COLUMNS, fine=(True,)),
    "resume_from_checkpoint": Refused(
        "an interrupted run goes on by itself from its last whole checkpoint",
        "give the same command and --output_dir again",
    ),
    "save_only_model": Refused(
        "an interrupted run could not go on from such a checkpoint, without optimizer and schedule",
        "leave it out, and keep the disk free with --save_total_limit 1",
        fine=(False,),
    ),
    "trackio_bucket_id": Refused(_LOCAL_CURVES),
    "trackio_space_id": Refused(_LOCAL_CURVES),
    "trackio_static_space_id": Refused(_LOCAL_CURVES, fine=(False,)),
    "truncation_mode": Refused(
        "a dialogue that is too long loses whole turns at its end",
        "leave it out, or raise --max_length",
        fine=("keep_start",),
    ),
}
# And with `trainer: dpo`.
REFUSED_BY_DPO = {
    "padding_free": Refused("TRL's DPOTrainer has none at present", fine=(False,)),
    "precompute_ref_log_probs": Refused(
        "the reference is the same model without what is trained, and takes no memory",
        fine=(False,),
    ),
    "sync_ref_model": Refused("TRL has this for whole models alone", fine=(False,)),
}
# The text of evaluation, and preference pairs: what may train, and TRL's settings for it.
TRAINERS = ("sft", "dpo")


@dataclass
class ExtraArguments:
    """What this trainer adds to TRL's settings."""

    trainer: str = field(
        default="sft",
        metadata={
            "help": "sft: learn the replies of dialogues; dpo: learn from pairs which reply is "
            "preferred.",
            "choices": TRAINERS,
        },
    )
    adapter: str | None = field(
        default=None,
        metadata={
            "help": "dpo: go on from this adapter, a run folder or Hub id; a frozen copy of it is "
            "the reference. Without it the base is."
        },
    )
    inspect: int = field(
        default=0,
        metadata={"help": "Print this many samples with their learned tokens, then stop."},
    )
    max_dropped: float = field(
        default=MAX_DROPPED,
        metadata={"help": "Stop if more than this share of a split's dialogues is left out."},
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "Stop after this many validations without a lower loss; keep the best."},
    )
    push_merged: bool = field(
        default=False, metadata={"help": "Push the merged weights too, to HUB_MODEL_ID-merged."}
    )


@dataclass(frozen=True)
class Push:
    """Where the finished run is pushed to, and what: `checkpoints` are pushed during training."""

    repo_id: str
    private: bool
    merged: bool
    checkpoints: bool


@dataclass(frozen=True)
class Settings:
    """The settings of one training run: TRL's dataclasses, and what is not left to TRL.

    `asked` are the names that the recipe or a flag sets. `push` and `token` replace what
    `training` says of the Hub: its own push would begin during the training.
    """

    recipe: str
    script: ScriptArguments
    training: SFTConfig | DPOConfig
    model: ModelConfig
    extra: ExtraArguments
    asked: frozenset[str]
    push: Push | None
    token: str | None = field(repr=False)

    @property
    def model_id(self) -> str:
        """The base model: a Hub id, or a folder."""
        return str(self.model.model_name_or_path or "")

    @property
    def dataset_id(self) -> str:
        """The dataset: a Hub id, or a folder."""
        return str(self.script.dataset_name or "")

    @property
    def is_dpo(self) -> bool:
        """Whether preference pairs are learned from, instead of dialogues."""
        return self.extra.trainer == "dpo"

    @property
    def batch(self) -> int:
        """The dialogues (pairs) of a step in one process."""
        return int(
            self.training.per_device_train_batch_size * self.training.gradient_accumulation_steps
        )

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(str(self.training.output_dir))

    @property
    def chat_template(self) -> str | None:
        """The text of the chat template that replaces the model's own."""
        path = getattr(self.training, "chat_template_path", None)  # DPO has the base's own
        return None if path is None else read_template(path)

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of these settings by name, as JSON has them; a resumed run compares them."""
        known = vars(self.script) | vars(self.training) | vars(self.model) | vars(self.extra)
        found = {name: known[name] for name in sorted(names) if name in known}
        return json.loads(json.dumps(found, default=_text))


def read_template(path: str) -> str:
    """The chat template in a file; raises KoSentError for anything else that TRL would take."""
    file = Path(path)
    if file.is_file():
        return decode_text(file.read_bytes(), file)
    flag = f"--chat_template_path {path}"
    if file.is_dir():
        own = file / "chat_template.jinja"
        remedy = f"name the file {own}" if own.is_file() else "name a Jinja file"
        raise KoSentError(flag, "a folder, and only the file's text is used", remedy)
    if is_hub_id(path) and file.suffix not in (".jinja", ".j2"):
        remedy = f"download it first: hf download {path} chat_template.jinja"
        raise KoSentError(flag, "no such file; of a repo on the Hub only a file is used", remedy)
    raise KoSentError(flag, "no such file", "name a Jinja file")


def packaged() -> list[str]:
    """Names of the recipes that come with this package: `smollm2-135m/cpu`, ..."""
    return sorted(
        str(path.relative_to(RECIPES).with_suffix(""))
        for path in RECIPES.glob("*/*.yaml")
        if path.parent.name != "accelerate"
    )


def find(name: str) -> Path:
    """The file of a recipe given as a path or as a packaged name."""
    for path in (Path(name), RECIPES / f"{name}.yaml"):
        if path.is_file():
            return path
    near = difflib.get_close_matches(name, packaged(), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"packaged ones: {', '.join(packaged())}"
    raise KoSentError(name, "no such recipe file or packaged recipe", hint)


def title(name: str) -> str:
    """A recipe's name in records: the packaged name, or the file's name without its folder."""
    return name if name in packaged() else Path(name).name


def load(name: str) -> dict[str, Any]:
    """The keys and values of a recipe, on top of those of the recipe that it `extends`."""
    path = find(name)
    values: dict[str, Any] = {}
    seen: list[Path] = []
    while True:
        seen.append(path)
        own = _read(path)
        parent = own.pop("extends", None)
        values = own | values
        if parent is None:
            return values
        beside = path.parent / str(parent)
        path = beside if beside.is_file() else find(str(parent))
        if path in seen:
            raise KoSentError(path, "extends itself", "name another recipe behind `extends`")


def _read(path: Path) -> dict[str, Any]:
    """The keys and values of a recipe's file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KoSentError(path, f"not YAML ({error})", "fix it") from None
    if not isinstance(values, dict):
        raise KoSentError(path, "a recipe is a list of `key: value` lines", "fix it")
    return values


def parse(argv: Sequence[str]) -> Settings:
    """The settings of the command line `--config RECIPE [--any_field value ...]`.

    Raises KoSentError naming the key or flag that is unknown or has a value of another type.
    """
    from trl import DPOConfig, ModelConfig, ScriptArguments, SFTConfig, TrlParser

    class Parser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise KoSentError(None, f"{message}", "see kosent-train --help")

    name, flags = split_config(argv)
    path, values = find(name), load(name)
    trainer = _trainer(values, flags)
    if trainer not in TRAINERS:
        raise KoSentError(name, f"trainer is {trainer!r}", f"write {' or '.join(TRAINERS)}")
    config = DPOConfig if trainer == "dpo" else SFTConfig
    types = (ScriptArguments, config, ModelConfig, ExtraArguments)
    parser = Parser(list[Any](types), prog="kosent_hub.train", allow_abbrev=False)
    known = {f.name: f for kind in types for f in dataclasses.fields(kind) if f.init}
    env = values.pop("env", {})
    if not isinstance(env, dict):
        raise KoSentError(path, f"env is {env!r}, expected `NAME: value` lines")
    for key, value in values.items():
        _check(key, value, known, where=str(path))
    named = _names(flags)
    for key, flag in named.items():
        if key not in known and key.removeprefix("no_") not in known:
            raise KoSentError(flag, f"unknown flag{_near(key, known)}")
    # As TRL's parser does: some variables are read while its dataclasses are made.
    os.environ |= {key: str(value) for key, value in env.items()}
    parser.set_defaults_with_config(**values)
    try:
        parsed = parser.parse_args_into_dataclasses(_for_device(values, named) + flags)
    except (ValueError, TypeError) as error:
        raise KoSentError(name, f"{error}") from None
    script, training, model, extra = parsed
    asked = values.keys() | {key if key in known else key.removeprefix("no_") for key in named}
    if extra.early_stopping_patience is not None:
        # Set here: TRL would want as many validations as checkpoints (see preflight.py).
        training.load_best_model_at_end, training.metric_for_best_model = True, "loss"
        training.greater_is_better = False
    token, training.hub_token = training.hub_token, None
    push = _take_push(training, extra, checkpoints="hub_strategy" in asked)
    return Settings(title(name), script, training, model, extra, frozenset(asked), push, token)


def fields(flags: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings from flags, `--lora_r 8 --load_in_4bit true`, as a recipe has them.

    `defaults` are settings that are known without TRL, which takes seconds to import. Raises
    KoSentError for what is no setting, and for a value of another type.
    """
    found: dict[str, list[str]] = {}
    for part in flags:
        if part.startswith("--"):
            name, equals, value = part[2:].partition("=")
            values = found.setdefault(name.replace("-", "_"), [])
            values += [value] if equals else []
        elif found:
            next(reversed(found.values())).append(part)
        else:
            raise KoSentError(part, "one recipe or base is planned at a time", "leave it out")
    read = {name: _value(values) for name, values in found.items()}
    if all(name in defaults and _like(read[name], defaults[name]) for name in read):
        return read
    from trl import DPOConfig, ModelConfig, ScriptArguments, SFTConfig

    types = (ScriptArguments, DPOConfig, SFTConfig, ModelConfig, ExtraArguments)
    known = {f.name: f for kind in types for f in dataclasses.fields(kind) if f.init}
    for name, value in read.items():
        _check(name, value, known, where=None)
    return read


def _like(value: Any, default: Any) -> bool:
    """Whether the value has the default's type; a whole number is a float as well."""
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def _value(words: Sequence[str]) -> Any:
    """A flag's value: true without one, a list of several."""
    try:
        values = [yaml.safe_load(word) for word in words]
    except yaml.YAMLError:
        values = list(words)
    return True if not values else values[0] if len(values) == 1 else values


def _names(flags: Sequence[str]) -> dict[str, str]:
    """Each flag by the name of the setting it sets."""
    return {
        flag[2:].split("=")[0].replace("-", "_"): flag for flag in flags if flag.startswith("--")
    }


def _trainer(values: Mapping[str, Any], flags: Sequence[str]) -> Any:
    """What `trainer` is, of a recipe's values and the flags after it: it decides which flags there
    are."""
    for place, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if name == "--trainer":
            return value if equals else "".join(flags[place + 1 : place + 2])
    return values.get("trainer", TRAINERS[0])


def _for_device(values: Mapping[str, Any], flags: Container[str]) -> list[str]:
    """Flags for what a recipe leaves to the device: `dtype: auto`, and without a GPU, the CPU.

    `values` are the recipe's, `flags` the names of those given beside it.
    """
    import torch

    added = []
    use_cpu = values.get("use_cpu", False) or "use_cpu" in flags
    if not use_cpu and not torch.cuda.is_available():
        # TRL refuses this with an error of its own; preflight says it with all the rest.
        use_cpu, added = True, ["--use_cpu", "true"]
    if values.get("dtype") == "auto" and "dtype" not in flags:
        dtype = compute_dtype(use_cpu)
        added += ["--dtype", dtype]
        for key, name in (("bf16", "bfloat16"), ("fp16", "float16")):
            if key not in values:
                added += [f"--{key}", str(dtype == name).lower()]
    return added


def _take_push(
    training: SFTConfig | DPOConfig, extra: ExtraArguments, checkpoints: bool
) -> Push | None:
    """The push that `training` asks the Trainer for, switched off in `training`.

    `checkpoints`: whether `hub_strategy` was set; transformers' default would push every save.
    """
    wanted, repo_id = training.push_to_hub, training.hub_model_id
    training.push_to_hub, training.hub_model_id = False, None
    if not wanted:
        return None
    if not repo_id:
        raise KoSentError("--push_to_hub needs a name", "add --hub_model_id ORG/NAME")
    from transformers.trainer_utils import HubStrategy

    checkpoints &= training.hub_strategy != HubStrategy.END
    return Push(repo_id, training.hub_private_repo is not False, extra.push_merged, checkpoints)


def as_flags(fields: Mapping[str, Any]) -> list[str]:
    """TRL's fields as flags: `{"lora_r": 16, "bf16": True}` is `--lora_r 16 --bf16 true`."""
    flags = []
    for name, value in fields.items():
        if value is None:
            raise KoSentError(
                f"{name}=None", "no flag says that", f"write `{name}: null` into a recipe"
            )
        flags.append(f"--{name}")
        flags += [_as_flag(one) for one in (value if isinstance(value, list | tuple) else [value])]
    return flags


def _as_flag(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict) else str(_text(value))


def split_config(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The recipe's name and the other flags."""
    flags = [part for flag in argv for part in _split_equals(flag)]
    if flags.count("--config") != 1 or flags[-1] == "--config":
        raise KoSentError(
            None, "give one --config RECIPE", f"packaged ones: {', '.join(packaged())}"
        )
    index = flags.index("--config")
    return flags[index + 1], flags[:index] + flags[index + 2 :]


def _split_equals(flag: str) -> list[str]:
    """`--config=X` as two parts, everything else as it is."""
    return flag.split("=", 1) if flag.startswith("--config=") else [flag]


def _check(key: str, value: Any, known: dict[str, dataclasses.Field], where: str | None) -> None:
    """Refuse a recipe's key that no dataclass has, or a value that is plainly of another type."""
    if key not in known:
        raise KoSentError(where, f"unknown key {key!r}{_near(key, known)}")
    kind = str(known[key].type)
    text = isinstance(value, str)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = (
        value is None
        or text  # argparse converts text, or refuses it with the key's name
        or ("bool" in kind and isinstance(value, bool))
        or ("float" in kind and number)
        or ("int" in kind and number and float(value).is_integer())
        or ("list" in kind and isinstance(value, list))
        or ("dict" in kind and isinstance(value, dict))
    )
    if not fits:
        raise KoSentError(where, f"{key} is {value!r}, expected {kind.replace('<class ', '')}")


def _text(value: Any) -> Any:
    """A setting JSON does not know, such as TRL's enumerations, as its text."""
    return getattr(value, "value", str(value))


def _near(key: str, known: dict[str, dataclasses.Field]) -> str:
    """`; did you mean ...?` when a known key is spelt almost like this one."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    there = "; see TRL's SFTConfig (DPOConfig with trainer: dpo) for what there is"
    return f"; did you mean {near[0]}?" if near else there
