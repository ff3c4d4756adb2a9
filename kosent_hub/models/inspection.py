"""What a person looks at before a training or an evaluation: samples as the model gets them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from kosent_hub.models.chat_format import IGNORED, ChatFormat, Messages, Sample, plain

_LEARNED, _END, _TITLE, _PLAIN = "\033[32m", "\033[1;33m", "\033[1m", "\033[0m"
_SYSTEM = {
    "written": "written by the template",
    "folded": "folded into the first user message",
}


@dataclass(frozen=True)
class Part:
    """A stretch of a sample: text before a reply, what is learned of a reply, or its end tokens."""

    kind: str  # "prompt", "learned" or "end"
    text: str


@dataclass(frozen=True)
class Inspected:
    """A sample as text, and for each of its replies the hex SHA-256 of the token ids before it, in
    training and in evaluation's prompt."""

    title: str
    tokens: int
    learned: int
    parts: list[Part]
    trained_prompts: list[str]
    evaluated_prompts: list[str]

    @property
    def same(self) -> bool:
        """Whether training and evaluation have the same prompts."""
        return self.trained_prompts == self.evaluated_prompts


def inspect(form: ChatFormat, title: str, messages: Messages) -> list[Inspected]:
    """The samples of a dialogue, under its title; raises UnusableDialogue if it gives none."""
    messages = plain(messages)
    turns = [k for k, message in enumerate(messages) if message["role"] == "assistant"]
    prompts = iter([_sha256(form.prompt(messages[:k])) for k in turns])
    samples = form.samples(messages)
    found = []
    for number, sample in enumerate(samples, start=1):
        name = title if len(samples) == 1 else f"{title}, reply {number} of {len(samples)}"
        found.append(_inspected(form, name, sample, prompts))
    return found


def inspect_last(form: ChatFormat, title: str, messages: Messages) -> Inspected:
    """The sample with a dialogue's last reply, only that one learned; see `inspect`."""
    messages = plain(messages)
    sample = form.samples(messages)[-1]
    learned, begin, _ = _stretches(sample)[-1]
    assert learned  # a sample ends with a reply
    labels = [IGNORED] * begin + sample["labels"][begin:]
    prompts = iter([_sha256(form.prompt(messages[:-1]))])
    return _inspected(form, title, {**sample, "labels": labels}, prompts)


def _inspected(
    form: ChatFormat, title: str, sample: Sample, evaluated_prompts: Iterator[str]
) -> Inspected:
    stretches = _stretches(sample)
    begins = [begin for learned, begin, _ in stretches if learned]
    return Inspected(
        title,
        len(sample["labels"]),
        sum(label != IGNORED for label in sample["labels"]),
        _parts(form, sample, stretches),
        [_sha256(sample["input_ids"][:begin]) for begin in begins],
        [next(evaluated_prompts) for _ in begins],
    )


def _stretches(sample: Sample) -> list[tuple[bool, int, int]]:
    """(learned, begin, end) of the sample's stretches of tokens."""
    found, at = [], 0
    for learned, run in groupby(sample["labels"], lambda label: label != IGNORED):
        end = at + len(list(run))
        found.append((learned, at, end))
        at = end
    return found


def _parts(
    form: ChatFormat, sample: Sample, stretches: Sequence[tuple[bool, int, int]]
) -> list[Part]:
    parts = []
    for learned, begin, end in stretches:
        ids = sample["input_ids"][begin:end]
        ends = len(form.end_ids) if learned and ids[-len(form.end_ids) :] == form.end_ids else 0
        cut = len(ids) - ends
        pieces = [("learned" if learned else "prompt", ids[:cut]), ("end", ids[cut:])]
        parts += [Part(kind, str(form.tokenizer.decode(some))) for kind, some in pieces if some]
    return parts


def _sha256(ids: Sequence[int]) -> str:
    return hashlib.sha256(array("i", ids)).hexdigest()


def show(form: ChatFormat, samples: Sequence[Inspected], *, model: str, as_json: bool) -> None:
    """Print the chat format's facts and the samples on stdout, in colours on a terminal."""
    if as_json:
        print(json.dumps(_document(form, model, samples), ensure_ascii=False, indent=2))
        return
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(_facts_text(form, model, color))
    for sample in samples:
        print(f"\n{_sample_text(sample, color)}")


def _facts_text(form: ChatFormat, model: str, color: bool) -> str:
    """The chat format's facts, a line each, under the model's name."""
    facts = form.facts
    switches = ", ".join(f"{name}={value}" for name, value in facts["switches"].items())
    switches = switches or "nothing; no switch for thoughts, so replies may begin with them"
    end = f"{facts['end'].strip()}  ({facts['end_of_turn']})"
    lines = {
        "template": f"sha256 {facts['template_sha256'][:12]}",
        "system message": _SYSTEM[facts["system"]],
        "switched off": switches,
        "thought closed": repr(facts["closed_thought"]) if "closed_thought" in facts else "",
        "the day is": facts.get("date", ""),
        "end of turn": end,
    }
    title = f"{_TITLE}{model}{_PLAIN}" if color else model
    return "\n".join([title, *(f"  {name:<16}{value}" for name, value in lines.items() if value)])


def _sample_text(sample: Inspected, color: bool) -> str:
    """A sample, what is learned in green and end tokens in yellow, or both in marks."""
    marks = {"prompt": ("", ""), "learned": ("[[", ""), "end": ("", "]]")}
    if color:
        marks = {"prompt": ("", ""), "learned": (_LEARNED, _PLAIN), "end": (_END, _PLAIN)}
    body = "".join(part.text.join(marks[part.kind]) for part in sample.parts)
    share = f"{sample.tokens} tokens, {sample.learned} learned"
    title = f"{_TITLE}{sample.title}{_PLAIN}" if color else sample.title
    prompts = [
        f"  prompt {number}: sha256 {trained[:12]} in training, {evaluated[:12]} in evaluation: "
        + ("the same" if trained == evaluated else "NOT THE SAME")
        for number, (trained, evaluated) in enumerate(
            zip(sample.trained_prompts, sample.evaluated_prompts, strict=True), start=1
        )
    ]
    return "\n".join([f"{title}: {share}", body, *prompts])


def _document(form: ChatFormat, model: str, samples: Sequence[Inspected]) -> dict[str, Any]:
    return {
        "model": model,
        "chat_format": form.facts,
        "samples": [asdict(sample) | {"same": sample.same} for sample in samples],
    }
