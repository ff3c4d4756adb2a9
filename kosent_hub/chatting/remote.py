"""A partner behind a URL: a server that speaks OpenAI's chat protocol."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

from kosent_hub.chatting.background import follow
from kosent_hub.chatting.partner import Settings
from kosent_hub.evaluation.backends.endpoint import EndpointBackend
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import ChatFormat, Messages
from kosent_hub.models.locate import ModelRef


class RemotePartner:
    """A model of a server, asked as kosent-eval asks it; the reply comes all at once.

    Raises KoSentError where no server answers at `url`.
    """

    def __init__(
        self, model: ModelRef, form: ChatFormat | None, url: str, settings: Settings
    ) -> None:
        self._model, self._form, self._url = model, form, url
        self._backends: dict[Settings, EndpointBackend] = {}
        self.name = self._backend(settings).model.id

    def reply(self, messages: Messages, settings: Settings, stopped: Event) -> Iterator[str]:
        """The reply, once it is there; see `Partner`. A stopped one may go on at the server."""
        sample = Sample("chat", "chat", 0, messages, "")

        def ask(hand_over: Callable[[str], None]) -> None:
            reply = self._backend(settings).reply(0, sample, secrets.randbits(31))
            hand_over(reply.text)

        for text in follow(_in_thread, ask):
            if stopped.is_set():
                yield ""
                return
            if text is not None:
                yield text

    def _backend(self, settings: Settings) -> EndpointBackend:
        if settings not in self._backends:
            self._backends[settings] = EndpointBackend(
                self._model,
                self._form,
                settings.max_new_tokens,
                self._url,
                concurrency=1,
                temperature=settings.temperature,
            )
        return self._backends[settings]


def _in_thread(work: Callable[[], None]) -> Any:
    """A thread that the program does not wait for when it ends."""
    Thread(target=work, daemon=True).start()
