"""What a recipe takes: peak memory, steps, hours, and the change that makes it fit a GPU."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kosent_hub.models.data.chat_dataset import MAX_DROPPED
from kosent_hub.models.machine import device
from kosent_hub.models.repos import untrusted
from kosent_hub.training import recipe
from kosent_hub.training.planning import gpus, model_sizes
from kosent_hub.training.planning.gpus import Gpu
from kosent_hub.training.planning.memory import (
    DEFAULTS,
    GIB,
    Adapter,
    adapter,
    checked,
    is_dpo,
    peak,
)
from kosent_hub.training.planning.model_sizes import ModelSizes, in_text
from model_card.licenses import conditions_line
from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id

BASES = recipe.RECIPES / "bases"

# AI Hub's corpus where no dataset is given: the 2022 edition's dialogues, and a guess at their
# length in tokens (system message, 2.7 turns) that errs on the long side.
CORPUS_DIALOGUES, CORPUS_TOKENS = 51_630, 230
# And for DPO: pairs that a judge may have preferred a reply in.
JUDGED_PAIRS = 5_000

# The share of a GPU's TFLOP/s that training reaches: published runs are between these.
USED_AT_WORST, USED_AT_BEST = 0.12, 0.45


# Of these model types, a tiny one's peak was so many times the planned one: without gradient
# checkpointing, and with it (tests/benchmarks/planned_memory.py).
MEASURED_OFF = {
    "granitemoehybrid": (1.4, 1.0),
    "recurrent_gemma": (1.2, 1.2),
    "rwkv": (1.6, 1.5),
    "xlstm": (1.3, 1.2),
}


@dataclass(frozen=True)
class PlanOptions:
    """The options of a plan. `recipe` is a recipe, or a base model: a Hub id or a folder.

    `gpu` by name or `vram_gb` of memory; `dataset` None is AI Hub's; `fields` are training
    settings beside the recipe's, as its flags would be; `gpus` of that kind, whose slowest link
    moves `link_gbit` Gbit/s (None: the GPU's own link to another in the same machine).
    `dataset_config` None is the configuration that the recipe names, if it names one.
    """

    recipe: str
    gpu: str | None = None
    vram_gb: float | None = None
    dataset: str | None = None
    dataset_config: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    gpus: int = 1
    link_gbit: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a recipe takes: GiB at the peak and by part, optimizer steps, tokens, hours.

    `fits`, `available_gib` and `hours` (from, to) are None without a GPU. `suggestions` are flags
    that make it fit. `parameters` counts `all` of the base's, and those `trained`. `notes` are
    lines on what decides the plan; `several` the ways to train on several GPUs, [] for one.
    """

    fits: bool | None
    peak_gib: float
    available_gib: float | None
    parts: dict[str, float]
    steps: int
    tokens: int
    hours: tuple[float, float] | None
    suggestions: list[str]
    parameters: dict[str, int]
    density: dict[str, float] | None
    notes: list[str]
    several: list[Sharing]


@dataclass(frozen=True)
class Sharing:
    """Training on several GPUs: GiB at the peak of each, hours (from, to), and of those the hours
    that the slowest link takes."""

    name: str
    fits: bool
    peak_gib: float
    hours: tuple[float, float]
    link_hours: float


@dataclass(frozen=True)
class Data:
    """The training data in tokens: of all dialogues, of the longest; `learned` is a share of them.

    `longest` is None where it is not known. `note` says where the numbers come from. `density` is
    tokens per character and per byte of the messages, None where no dataset was read.
    """

    dialogues: int
    tokens: int
    longest: int | None
    learned: float
    note: str
    density: dict[str, float] | None = None


@dataclass(frozen=True)
class Job:
    """A training to plan: the base's sizes, the recipe's settings, the data, and the GPU if any.

    `title` names the recipe, or the packaged one whose values a base without a recipe gets.
    """

    base: ModelSizes
    settings: Mapping[str, Any]
    data: Data
    gpu: Gpu | None
    title: str = ""
    gpus: int = 1
    link_gbit: float | None = None


def plan(options: PlanOptions) -> Plan:
    """The plan for a recipe; raises KoSentError for a recipe, GPU or base that is not known."""
    return plan_job(load_job(options))


def load_job(options: PlanOptions) -> Job:
    """The job that a recipe describes, or one for a base model; its dataset counted if given."""
    if options.gpus < 1 or (options.link_gbit is not None and options.link_gbit <= 0):
        raise KoSentError("--gpus, --link-gbit", "not above zero", "leave them out for one GPU")
    model = _names_model(options.recipe)
    gpu = find_gpu(options.gpu, options.vram_gb, use_cpu=False)
    title = _values_for(gpu) if model else options.recipe
    settings = DEFAULTS | recipe.load(title)
    if model:
        settings["model_name_or_path"] = options.recipe
    settings = checked(settings | dict(options.fields))
    if options.dataset_config is not None:
        settings["dataset_config"] = options.dataset_config
    gpu = gpu or find_gpu(None, None, use_cpu=settings["use_cpu"])
    if not settings.get("model_name_or_path"):
        raise KoSentError(options.recipe, "names no base", "add --model_name_or_path ORG/NAME")
    base = load_base(
        str(settings["model_name_or_path"]),
        trust_remote_code=settings.get("trust_remote_code", False),
    )
    if model and "lora_target_modules" not in options.fields and base.refused_target:
        settings["lora_target_modules"] = allowed_targets(base)
    if model and base.packing:
        settings |= {"load_in_4bit": False, "use_bnb_nested_quant": False, **options.fields}
    data = count(options.dataset, settings) if options.dataset else _uncounted(settings)
    name = recipe.title(title)
    return Job(base, settings, data, gpu, name, options.gpus, options.link_gbit)


def _names_model(name: str) -> bool:
    """Whether the name is a base model's: a folder, or a Hub id that no recipe's folder begins."""
    if Path(name).is_file() or name in recipe.packaged():
        return False
    if (Path(name) / "config.json").is_file():
        return True
    folders = {known.split("/")[0] for known in recipe.packaged()}
    return is_hub_id(name) and name.split("/")[0] not in folders and not name.endswith(".yaml")


def _values_for(gpu: Gpu | None) -> str:
    """The packaged recipe whose values suit the GPU's memory, for a base without a recipe."""
    if gpu is None:
        return "llama-3.1-8b/qlora-24gb"
    if gpu.gib < 12:
        return "llama-3.1-8b/qlora-8gb"
    if gpu.capability < 8.0:
        return "llama-3.1-8b/qlora-t4"
    return "llama-3.1-8b/qlora-24gb" if gpu.gib < 38 else "llama-3.1-8b/qlora-a100"


def allowed_targets(base: ModelSizes) -> list[str]:
    """Names of the linear layers without the one that peft refuses; a pattern where one is left,
    since TRL and peft read a single name as a pattern."""
    linear = (m.name for m in base.matrices if m.kind == "linear")
    names = {name.split(".")[-1] for name in linear if in_text(base.blocks, name)}
    left = sorted(name for name in names if name != base.refused_target)
    return left if len(left) > 1 else [f".*{name}" for name in left]


def plan_job(job: Job) -> Plan:
    """The plan for a job."""
    parts, gpu = _parts(job), job.gpu
    lora = adapter(job.base, job.settings)
    total = sum(parts.values())
    steps, samples = _steps(job)
    tokens = round(job.data.tokens / job.data.dialogues * samples)
    problems = _problems(job, lora)
    suggestions = [*problems]
    if gpu is not None and total > gpu.gib:
        suggestions += suggest(job, gpu)
    several = sharing(job, parts, lora, steps, tokens, gpu) if gpu and job.gpus > 1 else []
    return Plan(
        fits=None if gpu is None else total <= gpu.gib and not problems,
        peak_gib=round(total, 2),
        available_gib=gpu.gib if gpu else None,
        parts={name: round(value, 3) for name, value in parts.items()},
        steps=steps,
        tokens=tokens,
        hours=_hours(job, parts, steps, tokens, gpu) if gpu else None,
        suggestions=suggestions,
        parameters={"all": job.base.parameters, "trained": lora.parameters},
        density=job.data.density,
        notes=_notes(job, lora),
        several=several,
    )


def on_each(job: Job) -> list[tuple[Gpu, bool, tuple[float, float]]]:
    """Every known GPU: whether the job fits it, and its hours."""
    parts, lora = _parts(job), adapter(job.base, job.settings)
    total, (steps, samples) = sum(parts.values()), _steps(job)
    tokens = round(job.data.tokens / job.data.dialogues * samples)
    found = []
    for gpu in gpus.GPUS:
        fits = total <= gpu.gib and not _problems(replace(job, gpu=gpu), lora)
        found.append((gpu, fits, _hours(job, parts, steps, tokens, gpu)))
    return found


def _notes(job: Job, lora: Adapter) -> list[str]:
    """Lines on what decides the plan and nobody would expect, and on a licence of its own."""
    base, settings = job.base, job.settings
    licence = conditions_line(str(settings.get("model_name_or_path")))
    notes = [licence] if licence else []
    if settings["load_in_4bit"] or settings["load_in_8bit"]:
        experts = base.unquantised_experts
        if experts:
            notes.append(
                f"{experts / 1e9:.1f} of {base.parameters / 1e9:.1f} billion parameters are "
                "experts in fused tensors, which bitsandbytes leaves in 16 bits: "
                f"{2 * experts / GIB:.0f} GiB"
            )
    if base.mixers:
        notes.append(
            f"{len(base.mixers)} of {base.layers} layers are Mamba or linear attention, planned as "
            "PyTorch computes them; with their kernels (mamba-ssm, causal-conv1d, "
            "flash-linear-attention) they take less"
        )
    if unknown := sum(not any(mixer.peak) for mixer in base.mixers):
        notes.append(
            f"what {unknown} of these hold for the backward is not planned: add to the peak"
        )
    kept, checkpointed = MEASURED_OFF.get(base.model_type, (1.0, 1.0))
    factor = checkpointed if settings["gradient_checkpointing"] else kept
    if factor > 1:
        notes.append(f"of {base.model_type}, a tiny one took {factor} times the memory planned")
    if settings["use_cpu"] and any(m.name.endswith(".kv_b_proj") for m in base.matrices):
        notes.append(
            "a CPU computes latent attention whole, which is not planned: half as much again with "
            "512 tokens"
        )
    if base.packing:
        notes.append(f"the base is quantised already ({base.packing}), and stays as it is")
    if base.packing and all(m.packed is None for m in base.matrices):
        notes.append(f"bits a weight in {base.packing} are not known here: planned as 16")
    return notes


def _parts(job: Job) -> dict[str, float]:
    """GiB by part, for a step with the longest samples of the data."""
    longest = job.data.longest
    limit = job.settings["max_length"] or longest or job.base.hidden
    length = min(limit, longest) if longest else limit
    return peak(job.base, job.settings, length=length, learned=job.data.learned)


def suggest(job: Job, gpu: Gpu) -> list[str]:
    """The smallest change, or the shortest chain of changes, with which the peak fits the GPU."""
    settings = job.settings
    batch = settings["per_device_train_batch_size"]
    effective = batch * settings["gradient_accumulation_steps"]
    changes: list[dict[str, Any]] = [{"gradient_checkpointing": True}]
    while batch > 1:
        batch //= 2
        changes.append(
            {
                "per_device_train_batch_size": batch,
                "gradient_accumulation_steps": max(1, effective // batch),
            }
        )
    changes.append({"load_in_4bit": True, "use_bnb_nested_quant": True})
    changes.append({"optim": "paged_adamw_8bit"})
    changes.append({"lora_r": min(8, settings["lora_r"])})
    changes += [
        {"max_length": n} for n in (1024, 512, 384, 256) if n < (settings["max_length"] or 2048)
    ]
    changes = [c for c in changes if any(settings[k] != v for k, v in c.items())]

    def fits(change: Mapping[str, Any]) -> bool:
        changed = replace(job, settings={**settings, **change})
        return sum(_parts(changed).values()) <= gpu.gib

    for change in changes:
        if fits(change):
            return [_line(change)]
    together: dict[str, Any] = {}
    for change in changes:
        together |= change
        if fits(together):
            needed = {k: v for k, v in together.items() if not fits({**together, k: settings[k]})}
            return [_line(needed if fits(needed) else together)]
    return [f"nothing makes this base fit {gpu.name}; choose a smaller one, or a larger GPU"]


def _line(change: Mapping[str, Any]) -> str:
    """The flags that make a change."""
    return " ".join(f"--{name} {str(value).lower()}" for name, value in change.items())


def _problems(job: Job, lora: Adapter) -> list[str]:
    """The reasons why a recipe cannot run, whatever the memory."""
    settings, gpu, base, found = job.settings, job.gpu, job.base, []
    wants = settings.get("bf16") is True or settings["dtype"] == "bfloat16"
    if wants and gpu is not None and gpu.capability < 8.0:
        found.append(f"{gpu.name} has no bfloat16: --dtype float16 --bf16 false --fp16 true")
    if base.refused_target and settings["lora_target_modules"] in ("all-linear", ["all-linear"]):
        names = " ".join(allowed_targets(base))
        found.append(
            f"peft puts no adapter on {base.refused_target} of {base.model_type}: "
            f"--lora_target_modules {names}"
        )
    if base.packing and (settings["load_in_4bit"] or settings["load_in_8bit"]):
        found.append(
            f"the base is quantised already ({base.packing}): "
            "--load_in_4bit false --load_in_8bit false"
        )
    if lora.on_tensors and settings["lora_dropout"]:
        found.append("peft knows no dropout on experts in fused tensors: --lora_dropout 0")
    return found


def _steps(job: Job) -> tuple[int, int]:
    """Optimizer steps and samples seen, on one device."""
    settings, dialogues = job.settings, job.data.dialogues
    batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    if settings["max_steps"] > 0:
        return settings["max_steps"], settings["max_steps"] * batch
    epochs = settings["num_train_epochs"]
    return math.ceil(dialogues / batch * epochs), round(dialogues * epochs)


def _hours(
    job: Job, parts: Mapping[str, float], steps: int, tokens: int, gpu: Gpu
) -> tuple[float, float]:
    """The shortest and longest time to expect, in hours.

    A frozen base costs 2 operations a parameter and token forward and 2 backward, and 2 more
    where checkpointing does the forward again; DPO's reference is a forward more. No batch is
    faster than its weights are read.
    """
    passes = (3 if job.settings["gradient_checkpointing"] else 2) + is_dpo(job.settings)
    work = 2 * passes * job.base.active_parameters * tokens
    rate = gpu.tflops * 1e12 * 3600
    share = min(1.0, job.base.active_parameters * _batch_tokens(job) / job.base.parameters)
    read = (parts["weights"] + parts["quantization"]) * GIB * share
    batches = steps * job.settings["gradient_accumulation_steps"]
    least = passes * read * batches / (gpu.bandwidth * 1e9 * 3600)
    low, high = work / (rate * USED_AT_BEST), work / (rate * USED_AT_WORST)
    return round(max(low, least), 3), round(max(high, least), 3)


def _batch_tokens(job: Job) -> float:
    """Tokens of a micro-batch of average dialogues."""
    each = job.data.tokens / job.data.dialogues
    return job.settings["per_device_train_batch_size"] * each


def sharing(
    job: Job,
    parts: Mapping[str, float],
    lora: Adapter,
    steps: int,
    tokens: int,
    gpu: Gpu,
) -> list[Sharing]:
    """The ways to train on several GPUs, with as many samples in all as on one.

    DDP keeps everything on each GPU and adds up the adapter's gradients once a step. FSDP2 shares
    out the blocks and gathers one (and the next) at a time, twice a batch; ZeRO-3 shares out all
    and keeps up to a billion gathered parameters.
    """
    number, base = job.gpus, job.base
    model = parts["weights"] + parts["quantization"]
    blocks = [sum(m.size for m in block) for block in base.by_block]
    in_blocks = model * sum(blocks) / base.parameters
    largest = model * max(blocks) / base.parameters
    trained = parts["adapter"] + parts["optimizer"]
    moving = sum(parts.values()) - model - trained
    live = min(model, model * 1e9 / base.parameters)
    peaks = {
        "DDP": model + trained + moving,
        "FSDP2": (in_blocks + trained) / number + 2 * largest + model - in_blocks + moving,
        "ZeRO-3": (model + trained) / number + live + moving,
    }
    link = (job.link_gbit / 8 if job.link_gbit else gpu.link) * 1e9 * 3600
    batches = steps * job.settings["gradient_accumulation_steps"] / number
    part = (number - 1) / number
    gradients = 2 * part * 4 * lora.parameters * steps
    moved = {
        "DDP": gradients,
        "FSDP2": gradients / 2 + 2 * part * in_blocks * GIB * batches,
        "ZeRO-3": gradients / 2 + 2 * part * model * GIB * batches,
    }
    low, high = _hours(job, parts, steps, tokens, gpu)
    found = []
    for name, peak_gib in peaks.items():
        hours = moved[name] / link
        found.append(
            Sharing(
                name,
                peak_gib <= gpu.gib,
                round(peak_gib, 2),
                (round(low / number + hours, 3), round(high / number + hours, 3)),
                round(hours, 3),
            )
        )
    return found


def _uncounted(settings: Mapping[str, Any]) -> Data:
    """The data of a plan without a dataset."""
    if not is_dpo(settings):
        return aihub_corpus()
    return Data(
        dialogues=JUDGED_PAIRS,
        tokens=2 * JUDGED_PAIRS * CORPUS_TOKENS,
        longest=None,
        learned=0.2,
        note=f"{JUDGED_PAIRS:,} pairs of twice {CORPUS_TOKENS} tokens (a guess; count yours with "
        "--dataset), all of them as long as max_length for the peak",
    )


def aihub_corpus() -> Data:
    """AI Hub's corpus, as far as it is known without the files."""
    return Data(
        dialogues=CORPUS_DIALOGUES,
        tokens=CORPUS_DIALOGUES * CORPUS_TOKENS,
        longest=None,
        learned=0.4,
        note=f"AI Hub's 2022 edition, some {CORPUS_TOKENS} tokens a dialogue (a guess; count yours "
        "with --dataset), all of them as long as max_length for the peak",
    )


def count(dataset: str, settings: Mapping[str, Any]) -> Data:
    """The dataset's training split, counted with the base's own tokenizer and template."""
    from trl import ScriptArguments

    from kosent_hub.models.chat_format import chat_format
    from kosent_hub.models.data import chat_dataset
    from kosent_hub.models.repos.repo import resolve
    from kosent_hub.models.tokenizer import load_tokenizer
    from kosent_hub.training import pairs
    from kosent_hub.training.samples import density, encode
    from model_card.publishing import session

    session.install()
    revision = resolve(dataset, repo_type="dataset").revision
    names = ("dataset_config", "dataset_train_split")
    script = ScriptArguments(dataset, **{n: settings[n] for n in names if n in settings})
    read: Any = pairs.load if is_dpo(settings) else chat_dataset.load
    rows = read(script, revision, False, "--dataset-config")["train"]
    path = settings.get("chat_template_path")
    tokenizer = load_tokenizer(
        str(settings["model_name_or_path"]),
        chat_template=None if path is None else recipe.read_template(path),
        template_flag="--chat_template_path",
        trust_remote_code=settings.get("trust_remote_code", False),
    )
    form = chat_format(tokenizer)
    length, share = settings["max_length"], settings.get("max_dropped", MAX_DROPPED)
    write: Any = pairs.encode if is_dpo(settings) else encode
    counts = write(form, rows, length, split="train", max_dropped=share).counts
    found = from_counts(counts, f"{dataset}, counted")
    dialogues = pairs.dialogues(rows) if is_dpo(settings) else rows
    return replace(found, density=density(tokenizer, dialogues))


def from_counts(counts: Any, note: str) -> Data:
    """The counts of a split (samples.Counts) as the data of a plan."""
    return Data(counts.samples, counts.tokens, counts.longest, counts.learned / counts.tokens, note)


def load_base(model_id: str, *, trust_remote_code: bool = False) -> ModelSizes:
    """The base's sizes: packaged for the bases of BASES, else counted on its class.

    A folder needs no more than its config.json; of a repo on the Hub nothing else is read. Raises
    KoSentError, one line, for what is neither, and for a class that transformers does not know.
    """
    folder = Path(model_id)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise KoSentError(
                model_id, "has no config.json", "name a base model, not an adapter of it"
            )
        untrusted.check_folder(folder)
        return model_sizes.read(
            folder / "config.json", model_id, trust_remote_code=trust_remote_code
        )
    if model_id in packaged_bases():
        return model_sizes.packaged(BASES / packaged_bases()[model_id])

    config = _downloaded_config(model_id)
    return model_sizes.read(config, model_id, trust_remote_code=trust_remote_code)


def packaged_bases() -> dict[str, str]:
    """Folder under BASES of each base whose sizes come with this package, by its Hub id."""
    return json.loads((BASES / "index.json").read_text(encoding="utf-8"))


def _downloaded_config(model_id: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    from kosent_hub.models.repos.repo import resolve
    from model_card.publishing import session

    session.install()
    resolve(model_id)  # a repo that may not be read is said in its words
    try:
        # By the branch: a commit's files are found offline only under that commit.
        return Path(hf_hub_download(model_id, "config.json"))
    except LocalEntryNotFoundError:
        raise  # the network, or the cache of an offline run
    except EntryNotFoundError:
        raise KoSentError(
            model_id, "has no config.json", "name a base model, not an adapter of it"
        ) from None


def find_gpu(name: str | None, gigabytes: float | None, *, use_cpu: bool) -> Gpu | None:
    """The GPU of that name, or of that memory; without either this CPU if `use_cpu`, or None."""
    if gigabytes is not None:
        if not 0 < gigabytes < math.inf:
            raise KoSentError(f"--vram-gb {gigabytes:g}", "no size of a memory", "give its GB")
        return gpus.of_memory(gigabytes)
    if name is not None:
        return gpus.find(name)
    return this_cpu() if use_cpu else None


def this_cpu() -> Gpu:
    """This machine's CPU as a plan takes it: 0.3 TFLOP/s a core with 16-bit instructions."""
    memory = device.main_memory() / GIB
    return Gpu("this machine's CPU", round(memory, 1), 0.3 * device.cores(), 9.0, bandwidth=20)
