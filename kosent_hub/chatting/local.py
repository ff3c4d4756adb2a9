"""A partner in this process: the model, the prompt and the tokens that kosent-eval would take."""

from __future__ import annotations

import secrets
import sys
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Event
from typing import Any

import torch
from transformers import StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from kosent_hub.chatting.background import follow
from kosent_hub.chatting.partner import Settings
from kosent_hub.evaluation.backends import CUT, whole
from kosent_hub.evaluation.backends.local.plain import plain_replies
from kosent_hub.evaluation.backends.local.sampling import Sampling
from kosent_hub.models.chat_format import ChatFormat, Messages
from kosent_hub.models.locate import Located
from kosent_hub.models.machine.device import out_of_memory
from kosent_hub.models.weights.load import load_model
from model_card.publishing.errors import KoSentError


@dataclass(frozen=True)
class LocalPartner:
    """A loaded model, `lm`, that replies inside a `with` block of `state`.

    Partners of the same weights share `thread`, in which one reply is made after the other.
    `reach` is how many tokens of prompt and reply the model was made for.
    """

    name: str
    lm: Any
    form: ChatFormat
    state: Callable[[], AbstractContextManager[None]]
    thread: ThreadPoolExecutor
    reach: int

    def reply(self, messages: Messages, settings: Settings, stopped: Event) -> Iterator[str]:
        """The reply so far, and at the end all of it; see `Partner`."""
        prompt = array("i", self.form.prompt(messages))
        room = self.reach - len(prompt)
        if room < 1:
            raise KoSentError(
                self.name,
                f"this conversation has {len(prompt):,} tokens, and the model was made for "
                f"{self.reach:,}",
                "begin another one",
            )
        new = min(settings.max_new_tokens, room)
        stop = self.form.stop_ids(self.lm.generation_config)
        left = Event()

        def generate(hand_over: Callable[[int], None]) -> None:
            if stopped.is_set() or left.is_set():
                return
            try:
                self._generate(prompt, stop, new, settings.temperature, (stopped, left), hand_over)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                torch.cuda.empty_cache()
                raise KoSentError(
                    self.name,
                    f"no memory left on {self.lm.device} for a prompt of {len(prompt):,} tokens",
                    "begin another conversation, or end what else uses that memory",
                ) from None

        tokens: list[int] = []
        try:
            for token in follow(self.thread.submit, generate):
                if token is not None:
                    tokens.append(token)
                    yield self.form.reply_so_far(tokens)
        finally:
            left.set()
        ended = bool(tokens) and tokens[-1] in stop
        yield whole(self.form.reply_text(tokens)[0], "stop" if ended else CUT)

    def _generate(
        self,
        prompt: array[int],
        stop: frozenset[int],
        new: int,
        temperature: float,
        ends: tuple[Event, Event],
        hand_over: Callable[[int], None],
    ) -> None:
        sampling = Sampling(temperature, secrets.randbits(31)) if temperature else None
        pad = self.form.tokenizer.pad_token_id

        def is_over(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            over = any(event.is_set() for event in ends)
            return torch.full((len(ids),), over, device=ids.device)

        with self.state():
            for _ in plain_replies(
                self.lm,
                [prompt],
                stop,
                new,
                pad,
                sampling,
                streamer=_Tokens(hand_over),
                stopping_criteria=StoppingCriteriaList([is_over]),
            ):
                pass


class _Tokens(BaseStreamer):
    """Hands over each new token; the first that `generate` puts here is the prompt."""

    def __init__(self, hand_over: Callable[[int], None]) -> None:
        self._hand_over, self._begun = hand_over, False

    def put(self, value: torch.Tensor) -> None:
        if self._begun:
            for token in value.flatten().tolist():
                self._hand_over(token)
        self._begun = True

    def end(self) -> None:
        pass


def load(located: Located, *, with_base: bool) -> tuple[LocalPartner, LocalPartner | None]:
    """The located model as a partner, and if asked its base: one copy of the weights.

    Raises KoSentError as `load_model` does.
    """
    try:
        loaded = load_model(located, merge=not with_base)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise KoSentError(
            located.model_id,
            "no memory left to load it",
            "end what else uses that memory, or take a smaller model or --dtype bfloat16",
        ) from None
    thread = ThreadPoolExecutor(1)
    limit = getattr(located.config.get_text_config(), "max_position_embeddings", None)
    reach = limit if isinstance(limit, int) else sys.maxsize

    def partner(
        name: str, state: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> LocalPartner:
        return LocalPartner(name, loaded.model, located.form, state, thread, reach)

    if loaded.without_adapter is None:
        return partner(located.repo.id), None
    return partner(located.repo.id), partner(located.base.id, loaded.without_adapter)
