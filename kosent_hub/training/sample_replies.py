"""What the model would say, at each validation: to three prompts of our own, and to three of the
validation split.

Our own are printed. Those of the validation split are the corpus's text: they go to
`samples/step-N.md` in the run folder, and that is never pushed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import (
    GenerationConfig,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from kosent_hub.models.chat_format import ChatFormat, Messages, UnusableDialogue
from kosent_hub.models.generation import generate
from model_card.publishing.files import atomic_write

OWN = (
    "이직한 지 두 달인데 아직도 겉도는 것 같아.",
    "시험에 또 떨어졌어. 부모님께 뭐라고 말해야 할지 모르겠어.",
    "오늘 오랜 친구랑 화해했어. 이제야 마음이 놓여.",
)
PROMPTS, MAX_NEW_TOKENS = 3, 64


class SampleReplies(TrainerCallback):
    """Greedy replies of at most 64 tokens, made by the first process alone in one batch.

    `system_prompt` stands before the prompts of our own; `validation` are the split's dialogues,
    of which the first three that the chat format can use are asked for their first reply.
    `autocast` gives the number format of a training step.
    """

    def __init__(
        self,
        form: ChatFormat,
        system_prompt: str | None,
        validation: Iterable[Messages],
        folder: Path,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        own = ([*system, {"role": "user", "content": text}] for text in OWN)
        self._form, self._folder, self._autocast = form, folder, autocast
        self._own = dict(_prompts(form, own))
        self._validation = dict(_prompts(form, (_until_reply(found) for found in validation)))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Print and write the replies after this step."""
        if not state.is_world_process_zero:
            return
        with self._autocast():
            replies = self._replies(model, [*self._own.values(), *self._validation.values()])
        own = list(zip(self._own, replies, strict=False))
        validation = list(zip(self._validation, replies[len(own) :], strict=True))
        after = f"after step {state.global_step}"
        if not args.disable_tqdm:
            lines = [f"  user: {text}\n  model: {' '.join(reply.split())}" for text, reply in own]
            tqdm.write("\n".join([f"\nreplies {after}:", *lines]), file=sys.stderr)
        parts = [f"user: {text}\n\nmodel: {reply}" for text, reply in validation]
        page = "\n\n---\n\n".join([f"Validation split, greedy replies {after}", *parts])
        path = self._folder / "samples" / f"step-{state.global_step}.md"
        atomic_write(path, f"{page}\n".encode())

    @torch.no_grad()
    def _replies(self, model: Any, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The most likely reply to each prompt, all made in one batch."""
        if not prompts:
            return []
        stop = self._form.stop_ids(model.generation_config)
        pad = self._form.tokenizer.pad_token_id
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=sorted(stop),
            pad_token_id=pad,
        )
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]), reverse=True)
        training = model.training
        model.eval()
        found = generate(model, [prompts[n] for n in order], pad, generation_config=settings)
        model.train(training)
        written = dict(zip(order, found[:, len(prompts[order[0]]) :].tolist(), strict=True))
        replies = []
        for n in range(len(prompts)):
            ids = written[n]
            end = next((at for at, token in enumerate(ids, 1) if token in stop), len(ids))
            replies.append(self._form.reply_text(ids[:end])[0])
        return replies


def _until_reply(messages: Messages) -> Messages:
    """A dialogue before its first reply."""
    roles = [message["role"] for message in messages]
    return messages[: roles.index("assistant")] if "assistant" in roles else messages


def _prompts(form: ChatFormat, found: Iterable[Messages]) -> Iterable[tuple[str, list[int]]]:
    """The last message and the token ids of the first three that the chat format takes."""

    def usable() -> Iterable[tuple[str, list[int]]]:
        for messages in found:
            with suppress(UnusableDialogue):
                yield str(messages[-1]["content"]), form.prompt(messages)

    return islice(usable(), PROMPTS)
