"""What the kit measures, part by part; each yields its rows as they are known."""

from __future__ import annotations

import contextlib
import gc
import io
import multiprocessing
import multiprocessing.process
import os
import random
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kosent_hub.training import recipe
from kosent_hub.training.planning import model_sizes
from kosent_hub.training.planning.memory import DEFAULTS, GIB, peak
from kosent_hub.training.planning.plan import BASES, CORPUS_DIALOGUES, CORPUS_TOKENS
from tests.gpu.models import TINY, byte_tokenizer, random_model, write_base, write_dialogues

# GiB that the recipes for a card of that much memory may take.
CAPS = {"8gb": 7.8, "t4": 14.6, "24gb": 22.0}
# KoSentLlama's epoch in minutes, and its samples a second in evaluation.
REFERENCE_EPOCH, REFERENCE_REPLIES = 54.0, 3.0
LEARNED, WARM_UP = 0.4, 2
# What a training of the kit writes to its output.
SAID = "said"


@dataclass(frozen=True)
class Scale:
    """What is measured: Llama 3.1 8B's shape on a GPU, or everything tiny on a CPU.

    `flags` stand beside each recipe's values; `length` is a dialogue's mean in tokens; `memory_of`
    and `speed_of` are recipes.
    """

    device: str
    memory_of: tuple[str, ...]
    speed_of: tuple[str, ...]
    steps: int
    replies: int
    new_tokens: int
    length: int
    seconds: float
    shape: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


_LLAMA = tuple(
    name
    for name in recipe.packaged()
    if name.startswith("llama-3.1-8b/") and not name.endswith("/dpo")
)
_REFERENCE = "llama-3.1-8b/lora-a100-reference"
ON_GPU = Scale(
    "cuda", memory_of=_LLAMA, speed_of=("llama-3.1-8b/qlora-24gb", _REFERENCE), steps=6,
    replies=2000, new_tokens=48, length=CORPUS_TOKENS, seconds=100,
)  # fmt: skip
ON_CPU = Scale(
    "cpu", memory_of=("llama-3.1-8b/qlora-8gb", _REFERENCE), speed_of=(_REFERENCE,), steps=2,
    replies=4, new_tokens=3, length=12, seconds=5, shape=TINY,
    flags=(
        *("--use_cpu", "true", "--max_length", "32", "--dtype", "bfloat16", "--bf16", "true"),
        *("--fp16", "false", "--optim", "adamw_torch_fused"),
        *("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A figure: what it is of, what was expected of it (a plan, or the reference), and its unit."""

    what: str
    unit: str
    expected: float | None = None
    measured: float | None = None
    note: str = ""


def memory(scale: Scale) -> Iterator[Row]:
    """Planned against measured peak of a training step, dialogues as long as `max_length`."""
    for name in scale.memory_of:
        with tempfile.TemporaryDirectory() as folder:
            settings = _settings(name, scale, folder, scale.steps)
            length = settings.training.max_length
            planned = _planned(settings, scale, length)
            if (lacking := _lacking(settings)) is not None:
                yield Row(name, "GiB", planned, note=lacking)
                continue
            cap = CAPS.get(name.rsplit("-", 1)[-1]) if scale.device == "cuda" else None
            count = settings.batch * scale.steps
            found, note = _peak_of(settings, scale, _samples(scale, [length] * count), cap)
            yield Row(name, "GiB", planned, found, note)


def speed(scale: Scale) -> Iterator[Row]:
    """Minutes of an epoch of AI Hub's corpus, at the tokens a second of a few steps."""
    for name in scale.speed_of:
        for plain in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                more = ("--train_sampling_strategy", "random") if plain else ()
                settings = _settings(name, scale, folder, scale.steps + WARM_UP, *more)
                what = f"{name}, TRL's SFTTrainer" if plain else name
                if (lacking := _lacking(settings)) is not None:
                    yield Row(what, "minutes an epoch", note=lacking)
                    continue
                count = settings.batch * (scale.steps + WARM_UP)
                samples = _samples(scale, _lengths(scale, count, settings.training.max_length))
                rate = _tokens_a_second(settings, scale, samples, plain=plain)
                _free(scale)
                minutes = CORPUS_DIALOGUES * CORPUS_TOKENS / rate / 60
                expected = REFERENCE_EPOCH if scale.device == "cuda" else None
                yield Row(what, "minutes an epoch", expected, minutes, f"{rate:,.0f} tokens/s")


def evaluation(scale: Scale) -> Iterator[Row]:
    """Replies a second to prompts of a dialogue's length, in this process and with vLLM."""
    import torch

    from kosent_hub.evaluation.backends.local.batcher import Batcher, token_budget

    unit, expected = "replies/s", REFERENCE_REPLIES if scale.device == "cuda" else None
    draw = random.Random(0)
    system = _tokens(draw, 30)
    lengths = _lengths(scale, scale.replies, 400)
    prompts = [array("i", [*system, *_tokens(draw, length)]) for length in lengths]
    model = random_model(_config(scale), scale.device, torch.bfloat16)
    model.config.eos_token_id = None
    started, done = time.monotonic(), 0
    batcher = Batcher(model, prompts, frozenset(), scale.new_tokens, token_budget(model))
    for _ in batcher.run():
        done += 1
        if time.monotonic() - started > scale.seconds:
            break
    rate = done / (time.monotonic() - started)
    note = f"{done} of {scale.replies} replies of {scale.new_tokens} tokens"
    yield Row("transformers, bfloat16", unit, expected, rate, note)
    del model, batcher
    _free(scale)
    if scale.device != "cuda" or find_spec("vllm") is None:
        yield Row("vLLM, bfloat16", unit, expected, note="skipped: vLLM is not installed here")
        return
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        _config(scale).save_pretrained(folder)
        engine = LLM(
            folder, load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16",
            max_model_len=1024, gpu_memory_utilization=0.8,
        )  # fmt: skip
        new = scale.new_tokens
        greedy = SamplingParams(
            temperature=0.0, max_tokens=new, min_tokens=new, ignore_eos=True, detokenize=False
        )
        started = time.monotonic()
        engine.generate([{"prompt_token_ids": list(ids)} for ids in prompts], greedy)
        rate = len(prompts) / (time.monotonic() - started)
    yield Row("vLLM, bfloat16", unit, expected, rate, f"{len(prompts)} replies")


def same(scale: Scale) -> Iterator[Row]:
    """What must not depend on the machine: text in float32, an exhausted memory, a kill."""
    import torch
    from transformers import LlamaConfig

    from kosent_hub.evaluation.backends.local.batcher import Batcher
    from kosent_hub.evaluation.backends.local.plain import plain_replies

    wide = {"hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16, "head_dim": 64}
    shape = TINY | (wide | {"num_key_value_heads": 16} if scale.device == "cuda" else {})
    torch.manual_seed(0)
    model = random_model(LlamaConfig(**shape), "cpu", torch.float32).eval()
    model.generation_config.eos_token_id = None
    draw = random.Random(1)
    count = 64 if scale.device == "cuda" else 16
    prompts = [array("i", _tokens(draw, 8 + 12 * (n % 16))) for n in range(count)]
    stop, new = frozenset({257}), 8
    alone = dict(plain_replies(model, prompts[:8], stop, new, pad=256))
    model.to(scale.device)
    found = dict(Batcher(model, prompts, stop, new, budget=10**6).run())
    equal = sum(alone[n] == found[n] for n in alone)
    yield Row("replies of the CPU made here, float32", "of 8", 8, equal)

    what = "replies after the memory was exhausted"
    if scale.device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        _free(scale)
        held = torch.cuda.memory_reserved() + 200 * 2**20
        torch.cuda.set_per_process_memory_fraction(held / total)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            again = dict(Batcher(model, prompts, stop, new, budget=10**6).run())
        torch.cuda.set_per_process_memory_fraction(1.0)
        times = said.getvalue().count("out of memory")
        equal = sum(again[n] == found[n] for n in found)
        yield Row(what, f"of {count}", count, equal, f"halved {times} times")
    else:
        yield Row(
            what, f"of {count}", count, note="skipped: needs a GPU, whose memory can be limited"
        )
    del model
    _free(scale)
    yield from _killed(scale)


def _killed(scale: Scale) -> Iterator[Row]:
    """A training killed after a checkpoint, and the same command again: weights that differ from
    those of a calm run."""
    from safetensors.torch import load_file

    what = "adapter of a run that was killed, difference"
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_base(place / "base")
        write_dialogues(place / "data")
        flags = [
            *("--config", "smollm2-135m/cpu", "--model_name_or_path", "base"),
            *("--dataset_name", "data", "--max_steps", "2", "--save_steps", "1"),
            *("--eval_strategy", "no", "--report_to", "none", "--dtype", "float32"),
            *("--bf16", "false", "--max_length", "256", "--lora_dropout", "0.1"),
            *("--use_cpu", str(scale.device != "cuda").lower(), "--output_dir"),
        ]
        # A fork has all that is imported here; CUDA does not survive one.
        context = multiprocessing.get_context("spawn" if scale.device == "cuda" else "fork")

        def train(folder: str) -> multiprocessing.process.BaseProcess:
            process = context.Process(target=_train, args=(place, [*flags, folder]))
            process.start()
            return process

        broken = train("killed")
        while broken.is_alive() and not list(place.glob("killed/checkpoint-*/*.safetensors")):
            time.sleep(0.01)
        broken.kill()
        broken.join()
        if broken.exitcode == 0:
            yield Row(what, "at most", 0.0, note="ended before it was killed")
            return
        for folder in ("killed", "calm"):
            ended = train(folder)
            ended.join()
            if ended.exitcode != 0:
                said = (place / SAID).read_text("utf-8").strip().splitlines()
                last = said[-1] if said else f"exit {ended.exitcode}"
                yield Row(what, "at most", 0.0, note=f"did not train: {last[:120]}")
                return
        calm, killed = (
            load_file(place / folder / "adapter_model.safetensors") for folder in ("calm", "killed")
        )
        largest = max(float((calm[key] - killed[key]).abs().max()) for key in calm)
        moved = max(float(value.abs().max()) for key, value in calm.items() if "lora_B" in key)
        yield Row(what, "at most", 0.0, largest, f"the largest weight of B is {moved:.2g}")


def _train(place: Path, flags: list[str]) -> None:
    """`kosent-train` with these flags in a folder, as this process; what it says goes to SAID."""
    import torch

    from kosent_hub.train import main

    os.chdir(place)
    with Path(SAID).open("w", encoding="utf-8") as said:
        for number in (1, 2):
            os.dup2(said.fileno(), number)
    torch.set_num_threads(1)  # those of the process before the fork are not here
    sys.exit(main(flags))


PARTS: dict[str, Callable[[Scale], Iterator[Row]]] = {
    "memory": memory,
    "speed": speed,
    "eval": evaluation,
    "same": same,
}


def _settings(name: str, scale: Scale, folder: str, steps: int, *more: str) -> Any:
    """A recipe's settings for a few steps that leave nothing behind."""
    return recipe.parse([
        *("--config", name, "--output_dir", folder, "--max_steps", str(steps)),
        *("--eval_strategy", "no", "--save_strategy", "no", "--report_to", "none"),
        *("--logging_steps", "1000", "--disable_tqdm", "true"), *scale.flags, *more,
    ])  # fmt: skip


def _lacking(settings: Any) -> str | None:
    """Why the recipe cannot be run here, None if it can."""
    wanted = settings.model.load_in_4bit or "8bit" in str(settings.training.optim)
    return (
        "skipped: bitsandbytes is not installed"
        if wanted and not find_spec("bitsandbytes")
        else None
    )


def _planned(settings: Any, scale: Scale, length: int) -> float:
    """The plan's GiB; on a CPU without Python and its libraries, which are not measured there."""
    values = DEFAULTS | settings.values(DEFAULTS)
    parts = peak(model_sizes.count(_config(scale), "-"), values, length=length, learned=LEARNED)
    return sum(v for k, v in parts.items() if scale.device == "cuda" or k != "overhead")


def _peak_of(
    settings: Any, scale: Scale, samples: dict[str, Any], cap: float | None
) -> tuple[float | None, str]:
    """GiB at the peak of a training and of making its model, and a note; `cap` limits them."""
    import torch

    if scale.device != "cuda":
        from kosent_hub.training.planning.alive import Alive

        trainer = _trainer(settings, scale, samples)
        states = (getattr(weight, "quant_state", None) for weight in trainer.model.parameters())
        with Alive() as watched:
            for tensor in (*trainer.model.parameters(), *trainer.model.buffers()):
                watched.hold(tensor)
            for state in states:
                if state is not None:
                    watched.hold(state.absmax)
            trainer.train()
        return watched.most / GIB, "tensors alone"
    torch.zeros(1, device="cuda")
    _free(scale)
    free, total = torch.cuda.mem_get_info()
    context = total - free - torch.cuda.memory_reserved()
    if cap is not None:
        torch.cuda.set_per_process_memory_fraction(min(1.0, (cap * GIB - context) / total))
    note = "" if cap is None else f"memory limited to {cap} GiB"
    try:
        _trainer(settings, scale, samples).train()
        found: float | None = (torch.cuda.max_memory_reserved() + context) / GIB
        tensors = torch.cuda.max_memory_allocated() / GIB
        note = f"{note}; tensors {tensors:.2f}, CUDA {context / GIB:.2f}".lstrip("; ")
    except torch.OutOfMemoryError as error:
        found, note = None, f"{note}: out of memory ({str(error)[:80]})"
    torch.cuda.set_per_process_memory_fraction(1.0)
    _free(scale)
    return found, note


def _tokens_a_second(settings: Any, scale: Scale, samples: dict[str, Any], *, plain: bool) -> float:
    """Tokens a second of a training, its first steps left out."""
    import torch
    from transformers import TrainerCallback

    trainer = _trainer(settings, scale, samples, plain=plain)
    points: list[tuple[float, int]] = []

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if scale.device == "cuda":
                torch.cuda.synchronize()
            points.append((time.monotonic(), int(trainer._total_train_tokens)))

    trainer.add_callback(Watch())
    trainer.train()
    (since, before), (until, after) = points[WARM_UP - 1], points[-1]
    return (after - before) / (until - since)


def _trainer(settings: Any, scale: Scale, samples: dict[str, Any], *, plain: bool = False) -> Any:
    """This project's trainer, or TRL's as it is, with a random model as the recipe loads it."""
    import torch
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback
    from trl import SFTTrainer, get_peft_config

    from kosent_hub.training.trainer import AssistantTrainer

    torch.manual_seed(0)
    model = random_model(
        _config(scale), scale.device, getattr(torch, settings.model.dtype),
        four_bit=settings.model.load_in_4bit, nested=settings.model.use_bnb_nested_quant,
    )  # fmt: skip
    disable_progress_bars()
    if plain:
        samples = {"input_ids": samples["input_ids"]}
    trainer = (SFTTrainer if plain else AssistantTrainer)(
        model=model,
        args=settings.training,
        train_dataset=Dataset.from_dict(samples),
        processing_class=byte_tokenizer(),
        peft_config=get_peft_config(settings.model),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _config(scale: Scale) -> Any:
    from transformers import LlamaConfig

    config = LlamaConfig.from_pretrained(BASES / "llama-3.1-8b", **scale.shape)
    config.use_cache = False
    return config


def _samples(scale: Scale, lengths: list[int]) -> dict[str, Any]:
    """Random token ids; the last part of each sample is learned."""
    draw = random.Random(0)
    ids = [_tokens(draw, length) for length in lengths]
    labels = [
        [-100 if n < len(row) * (1 - LEARNED) else token for n, token in enumerate(row)]
        for row in ids
    ]
    return {"input_ids": ids, "labels": labels}


def _tokens(draw: random.Random, length: int) -> list[int]:
    return draw.choices(range(250), k=length)


def _lengths(scale: Scale, count: int, longest: int) -> list[int]:
    """Lengths around the mean of a dialogue, most of them within a third of it."""
    draw = random.Random(2)
    drawn = (round(draw.gauss(scale.length, scale.length / 3)) for _ in range(count))
    return [min(max(4, length), longest) for length in drawn]


def _free(scale: Scale) -> None:
    """Give back what nobody holds any more."""
    import torch

    gc.collect()
    if scale.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
