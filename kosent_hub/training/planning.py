"""What a recipe takes: peak memory, steps, hours, and the change that makes it fit a GPU."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kosent_hub.models import device, untrusted
from kosent_hub.models.chat_dataset import MAX_DROPPED
from kosent_hub.training import model_sizes, recipe
from kosent_hub.training.memory import DEFAULTS, GIB, adapter, peak
from kosent_hub.training.model_sizes import ModelSizes
from model_card.publishing.errors import KoSentError

BASES = recipe.RECIPES / "bases"

# AI Hub's corpus where no dataset is given: the 2022 edition's dialogues, and a guess at their
# length in tokens (system message, 2.7 turns) that errs on the long side.
CORPUS_DIALOGUES, CORPUS_TOKENS = 51_630, 230

# The share of a GPU's TFLOP/s that training reaches: published runs are between these.
USED_AT_WORST, USED_AT_BEST = 0.12, 0.45


@dataclass(frozen=True)
class Gpu:
    """A GPU: memory in GiB as PyTorch has it, dense 16-bit TFLOP/s, compute capability."""

    name: str
    gib: float
    tflops: float
    capability: float


GPUS = (
    Gpu("RTX 3060 Ti", 7.8, 32, 8.6),
    Gpu("T4", 14.6, 65, 7.5),
    Gpu("L4", 22.0, 121, 8.9),
    Gpu("RTX 3090", 23.6, 71, 8.6),
    Gpu("RTX 4090", 23.5, 165, 8.9),
    Gpu("A100 40GB", 39.4, 312, 8.0),
    Gpu("A100 80GB", 79.1, 312, 8.0),
    Gpu("H100", 79.1, 989, 9.0),
)


@dataclass(frozen=True)
class PlanOptions:
    """The options of a plan: `gpu` by name or `vram_gb` of memory; `dataset` None is AI Hub's."""

    recipe: str
    gpu: str | None = None
    vram_gb: float | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a recipe takes: GiB at the peak and by part, optimizer steps, tokens, hours.

    `fits`, `available_gib` and `hours` (from, to) are None without a GPU. `suggestions` are flags
    that make it fit. `parameters` counts `all` of the base's, and those `trained`.
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


@dataclass(frozen=True)
class Data:
    """The training data in tokens: of all dialogues, of the longest; `learned` is a share of them.

    `longest` is None where it is not known. `note` says where the numbers come from.
    """

    dialogues: int
    tokens: int
    longest: int | None
    learned: float
    note: str


@dataclass(frozen=True)
class Job:
    """A training to plan: the base's sizes, the recipe's settings, the data, and the GPU if any."""

    base: ModelSizes
    settings: Mapping[str, Any]
    data: Data
    gpu: Gpu | None


def plan(options: PlanOptions) -> Plan:
    """The plan for a recipe; raises KoSentError for a recipe, GPU or base that is not known."""
    return plan_job(load_job(options))


def load_job(options: PlanOptions) -> Job:
    """The job that a recipe describes, its dataset counted if one is given."""
    from model_card.publishing import session

    session.install()
    settings = DEFAULTS | recipe.load(options.recipe)
    gpu = find_gpu(options.gpu, options.vram_gb, use_cpu=settings["use_cpu"])
    base = load_base(
        str(settings["model_name_or_path"]),
        trust_remote_code=settings.get("trust_remote_code", False),
    )
    data = count(options.dataset, settings) if options.dataset else aihub_corpus()
    return Job(base, settings, data, gpu)


def plan_job(job: Job) -> Plan:
    """The plan for a job."""
    parts, gpu = _parts(job), job.gpu
    total = sum(parts.values())
    steps, samples = _steps(job)
    tokens = round(job.data.tokens / job.data.dialogues * samples)
    problem = None if gpu is None else _problem(job.settings, gpu)
    suggestions = [problem] if problem else []
    if gpu is not None and total > gpu.gib:
        suggestions += suggest(job, gpu)
    return Plan(
        fits=None if gpu is None else total <= gpu.gib and problem is None,
        peak_gib=round(total, 2),
        available_gib=gpu.gib if gpu else None,
        parts={name: round(value, 3) for name, value in parts.items()},
        steps=steps,
        tokens=tokens,
        hours=_hours(job, tokens, gpu) if gpu else None,
        suggestions=suggestions,
        parameters={
            "all": job.base.parameters,
            "trained": adapter(job.base, job.settings).parameters,
        },
    )


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


def _problem(settings: Mapping[str, Any], gpu: Gpu) -> str | None:
    """The reason why a recipe cannot run on a GPU, whatever its memory."""
    wants = settings.get("bf16") is True or settings["dtype"] == "bfloat16"
    if wants and gpu.capability < 8.0:
        return f"{gpu.name} has no bfloat16: --dtype float16 --bf16 false --fp16 true"
    return None


def _steps(job: Job) -> tuple[int, int]:
    """Optimizer steps and samples seen, on one device."""
    settings, dialogues = job.settings, job.data.dialogues
    batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    if settings["max_steps"] > 0:
        return settings["max_steps"], settings["max_steps"] * batch
    epochs = settings["num_train_epochs"]
    return math.ceil(dialogues / batch * epochs), round(dialogues * epochs)


def _hours(job: Job, tokens: int, gpu: Gpu) -> tuple[float, float]:
    """The shortest and longest time to expect, in hours.

    A frozen base costs 2 operations a parameter and token forward and 2 backward, and 2 more
    where checkpointing does the forward again.
    """
    parameters = job.base.active_parameters
    work = (6 if job.settings["gradient_checkpointing"] else 4) * parameters * tokens
    rate = gpu.tflops * 1e12 * 3600
    return round(work / (rate * USED_AT_BEST), 3), round(work / (rate * USED_AT_WORST), 3)


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

    from kosent_hub.models import chat_dataset
    from kosent_hub.models.chat_format import chat_format
    from kosent_hub.models.repo import resolve
    from kosent_hub.models.tokenizer import load_tokenizer
    from kosent_hub.training.samples import encode

    revision = resolve(dataset, repo_type="dataset").revision
    dialogues = chat_dataset.load(ScriptArguments(dataset_name=dataset), revision, False)["train"]
    path = settings.get("chat_template_path")
    tokenizer = load_tokenizer(
        str(settings["model_name_or_path"]),
        chat_template=None if path is None else recipe.read_template(path),
        template_flag="--chat_template_path",
    )
    form = chat_format(tokenizer)
    length, share = settings["max_length"], settings.get("max_dropped", MAX_DROPPED)
    counts = encode(form, dialogues, length, split="train", max_dropped=share).counts
    return from_counts(counts, f"{dataset}, counted")


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
            raise KoSentError(model_id, "holds no config.json", "name a base model's folder")
        untrusted.check_folder(folder)
        return model_sizes.read(
            folder / "config.json", model_id, trust_remote_code=trust_remote_code
        )
    if model_id in packaged_bases():
        return model_sizes.packaged(BASES / packaged_bases()[model_id])

    from huggingface_hub import hf_hub_download

    from kosent_hub.models.repo import resolve

    commit = resolve(model_id).revision
    config = Path(hf_hub_download(model_id, "config.json", revision=commit))
    return model_sizes.read(config, model_id, trust_remote_code=trust_remote_code)


def packaged_bases() -> dict[str, str]:
    """Folder under BASES of each base whose sizes come with this package, by its Hub id."""
    return json.loads((BASES / "index.json").read_text(encoding="utf-8"))


def find_gpu(name: str | None, gigabytes: float | None, *, use_cpu: bool) -> Gpu | None:
    """The GPU of that name, or of that memory; without either this CPU if `use_cpu`, or None."""
    if gigabytes is not None:
        return Gpu(f"a GPU of {gigabytes:g} GB", gigabytes * 1e9 / GIB * 0.98, 100, 8.0)
    if name is None:
        return this_cpu() if use_cpu else None
    wanted = _plain(name)
    near = [gpu for gpu in GPUS if wanted in _plain(gpu.name) or _plain(gpu.name) in wanted]
    if not near:
        raise KoSentError(
            f"--gpu {name}",
            f"not in the table ({', '.join(gpu.name for gpu in GPUS)})",
            "give its memory with --vram-gb",
        )
    return near[0]


def _plain(name: str) -> str:
    """A GPU's name in lower case, without its maker and spaces."""
    return name.lower().replace("nvidia", "").replace("geforce", "").replace(" ", "")


def this_cpu() -> Gpu:
    """This machine's CPU as a plan takes it: 0.3 TFLOP/s a core with 16-bit instructions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return Gpu("this machine's CPU", round(memory, 1), 0.3 * device.cores(), 9.0)
