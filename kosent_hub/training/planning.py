"""What a recipe takes: peak memory, steps, time, and what would make it fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kosent_hub.models.untrusted import read_settings
from kosent_hub.training import recipe
from kosent_hub.training.memory import GIB, Base, base_from_config, peak
from model_card.publishing.errors import KoSentError

# AI Hub's corpus where no dataset is given: the 2022 edition's dialogues, and a guess at their
# length in tokens (system message, 2.7 turns) that errs on the long side.
CORPUS_DIALOGUES, CORPUS_TOKENS = 51_630, 230


# Of the arithmetic a device can do, what training gets: published runs lie between these.
USED_AT_WORST, USED_AT_BEST = 0.12, 0.45


@dataclass(frozen=True)
class Card:
    """A GPU: memory in GiB as PyTorch sees it, dense 16-bit TFLOP/s, compute capability."""

    name: str
    gib: float
    tflops: float
    capability: float


CARDS = (
    Card("RTX 3060 Ti", 7.8, 32, 8.6),
    Card("T4", 14.6, 65, 7.5),
    Card("L4", 22.0, 121, 8.9),
    Card("RTX 3090", 23.6, 71, 8.6),
    Card("RTX 4090", 23.5, 165, 8.9),
    Card("A100 40GB", 39.4, 312, 8.0),
    Card("A100 80GB", 79.1, 312, 8.0),
    Card("H100", 79.1, 989, 9.0),
)


@dataclass(frozen=True)
class Data:
    """What is trained on: dialogues, all their tokens, the longest one's; guesses say so."""

    dialogues: int
    tokens: int
    longest: int | None
    learned: float
    note: str


def plan(base: Base, settings: Mapping[str, Any], data: Data, card: Card | None) -> dict[str, Any]:
    """The plan as `--json` prints it; `fits` and `available_gib` are null without a card."""
    parts = _parts(base, settings, data)
    total = sum(parts.values())
    steps, samples = _steps(settings, data)
    tokens = round(data.tokens / data.dialogues * samples)
    problem = _problem(settings, card)
    fits = None if card is None else total <= card.gib and problem is None
    suggestions = [problem] if problem else []
    if card is not None and total > card.gib:
        suggestions += suggest(base, settings, data, card)
    return {
        "fits": fits,
        "peak_gib": round(total, 2),
        "available_gib": card.gib if card else None,
        "parts": {name: round(value, 3) for name, value in parts.items()},
        "steps": steps,
        "tokens": tokens,
        "hours": _hours(base, settings, tokens, card) if card else None,
        "suggestions": suggestions,
    }


def _parts(base: Base, settings: Mapping[str, Any], data: Data) -> dict[str, float]:
    """GiB by part, for a step of the longest samples there are."""
    limit = settings["max_length"] or data.longest or base.hidden
    length = min(limit, data.longest) if data.longest else limit
    return peak(base, settings, length=length, learned=data.learned)


def suggest(base: Base, settings: Mapping[str, Any], data: Data, card: Card) -> list[str]:
    """The smallest change, or the shortest chain of changes, with which the peak fits the card."""
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
        return sum(_parts(base, {**settings, **change}, data).values()) <= card.gib

    for change in changes:
        if fits(change):
            return [_line(change)]
    together: dict[str, Any] = {}
    for change in changes:
        together |= change
        if fits(together):
            needed = {k: v for k, v in together.items() if not fits({**together, k: settings[k]})}
            return [_line(needed if fits(needed) else together)]
    return [f"nothing makes this base fit {card.name}; choose a smaller one, or a larger card"]


def _line(change: Mapping[str, Any]) -> str:
    """The flags that make a change."""
    return " ".join(f"--{name} {str(value).lower()}" for name, value in change.items())


def _problem(settings: Mapping[str, Any], card: Card | None) -> str | None:
    """What makes a recipe impossible on a card whatever its memory."""
    wants = settings.get("bf16") is True or settings["dtype"] == "bfloat16"
    if card is not None and wants and card.capability < 8.0:
        return f"{card.name} has no bfloat16: --dtype float16 --bf16 false --fp16 true"
    return None


def _steps(settings: Mapping[str, Any], data: Data) -> tuple[int, int]:
    """Optimizer steps and samples seen, on one device."""
    batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    if settings["max_steps"] > 0:
        return settings["max_steps"], settings["max_steps"] * batch
    epochs = settings["num_train_epochs"]
    return math.ceil(data.dialogues / batch * epochs), round(data.dialogues * epochs)


def _hours(base: Base, settings: Mapping[str, Any], tokens: int, card: Card) -> list[float]:
    """The shortest and longest time to expect.

    A frozen base costs 2 operations a parameter and token forward and 2 backward, and 2 more
    where checkpointing does the forward again.
    """
    parameters = base.linear_parameters + base.vocabulary * base.hidden
    work = (6 if settings["gradient_checkpointing"] else 4) * parameters * tokens
    rate = card.tflops * 1e12 * 3600
    return [round(work / (rate * used), 3) for used in (USED_AT_BEST, USED_AT_WORST)]


def aihub_corpus() -> Data:
    """AI Hub's corpus, as far as it is known without having it."""
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

    from kosent_hub.models import chat_dataset, encoding
    from kosent_hub.models.repo import resolve
    from kosent_hub.models.tokenizer import load_tokenizer

    revision = resolve(dataset, repo_type="dataset").revision
    dialogues = chat_dataset.load(ScriptArguments(dataset_name=dataset), revision, False)["train"]
    tokenizer = load_tokenizer(str(settings["model_name_or_path"]))
    _, counts = encoding.encoder(tokenizer).fit(dialogues, settings["max_length"])
    return from_counts(counts, f"{dataset}, counted")


def from_counts(counts: Any, note: str) -> Data:
    """A split's counts as a plan takes them."""
    return Data(counts.samples, counts.tokens, counts.longest, counts.learned / counts.tokens, note)


def load_base(model_id: str) -> Base:
    """The base's sizes: shipped for the packaged recipes' bases, else from its config.json."""
    shipped = yaml.safe_load((recipe.RECIPES / "bases.yaml").read_text(encoding="utf-8"))
    path = Path(model_id) / "config.json"
    if not path.is_file():
        if model_id in shipped:
            return base_from_config(shipped[model_id], model_id)
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(model_id, "config.json"))
    return base_from_config(read_settings(path, f"{model_id}/config.json"), model_id)


def find_card(
    name: str | None, gigabytes: float | None, settings: Mapping[str, Any]
) -> Card | None:
    """The card that was named, this machine for a CPU recipe, None if neither."""
    if gigabytes is not None:
        return Card(f"a card of {gigabytes:g} GB", gigabytes * 1e9 / GIB * 0.98, 100, 8.0)
    if name is None:
        return this_cpu() if settings["use_cpu"] else None
    wanted = _plain(name)
    near = [card for card in CARDS if wanted in _plain(card.name) or _plain(card.name) in wanted]
    if not near:
        raise KoSentError(
            f"--gpu {name}",
            f"not in the table ({', '.join(card.name for card in CARDS)})",
            "give its memory with --vram-gb",
        )
    return near[0]


def _plain(name: str) -> str:
    """A card's name as people write it: no maker, no spaces, no case."""
    return name.lower().replace("nvidia", "").replace("geforce", "").replace(" ", "")


def this_cpu() -> Card:
    """This machine's memory and cores as a card: 0.3 TFLOP/s a core with 16-bit instructions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return Card("this machine's CPU", round(memory, 1), 0.3 * (os.cpu_count() or 1), 9.0)
