"""A server that speaks OpenAI's chat protocol: vLLM, `transformers serve`, TGI, providers."""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Any

from huggingface_hub import get_session, get_token

from kosent_hub.evaluation.backends import Reply, TargetScore
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import ChatFormat, cut_thought
from kosent_hub.models.locate import ModelRef
from model_card.publishing.errors import HubUnavailable, KoSentError
from model_card.publishing.session import OTHER_SERVER, httpx
from model_card.records import EvaluatedModel

TIMEOUT_SECONDS = 600
# The field of a request with the variables of the chat template: no part of OpenAI's protocol.
KWARGS = "chat_template_kwargs"


class EndpointBackend:
    """Replies of a model behind a URL, with the chat template and number format of its server.

    With the model's chat format, the server gets its switches as `chat_template_kwargs`, unless it
    refuses them, and a system message that the template does not write in the first user message.
    """

    def __init__(
        self,
        model: ModelRef,
        form: ChatFormat | None,
        max_new_tokens: int,
        endpoint: str,
        concurrency: int,
    ) -> None:
        self.url = f"{endpoint.rstrip('/')}/chat/completions"
        self.name = model.model_id
        self.concurrency = concurrency
        folder = Path(model.model_id)
        local = folder.is_dir()
        self.model = EvaluatedModel(
            folder.resolve().name if local else self.name,
            revision=model.revision,
            dtype="as served",
            local=local,
        )
        self.identity: dict[str, Any] = {
            "endpoint": endpoint,
            "revision": model.revision,
        }
        self.form = form
        self.template_kwargs = {} if form is None else form.arguments
        self.chat_format: dict[str, Any] = {"template_sha256": "applied by the server"}
        if form is not None:
            self.chat_format |= {name: form.facts[name] for name in ("switches", "system")}
        if form is not None and "date" in form.facts and "date_string" not in self.template_kwargs:
            print(
                f"{self.name}: its chat template reads the clock, and a server tells it today's "
                f"date where the other backends tell it {form.facts['date']}",
                file=sys.stderr,
            )
        self.template_example: str | None = None
        self.generation: dict[str, Any] = {
            "temperature": 0,
            "max_new_tokens": max_new_tokens,
        }
        self.token = _token(self.url)
        self._refusal = Lock()

    def replies(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Reply]:
        """The wanted samples' replies, in any order, from `concurrency` requests at a time."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            running: set[Future[Reply]] = set()
            try:
                for index in wanted:
                    running.add(pool.submit(self._reply, index, samples[index]))
                    if len(running) >= self.concurrency:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in done)
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                for future in running:
                    future.cancel()

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Nothing: the protocol has no log-likelihood of a given reply."""
        return iter(())

    def close(self) -> None:
        """Nothing to end: the server was not started here."""

    def _reply(self, index: int, sample: Sample) -> Reply:
        messages = list(sample.messages)
        body = {
            "model": self.name,
            "messages": messages if self.form is None else self.form.as_written(messages),
            "temperature": 0,
            "max_tokens": self.generation["max_new_tokens"],
            "stream": False,
        }
        answer = self._chat(body)
        try:
            text = answer["choices"][0]["message"]["content"] or ""
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._no_chat(json.dumps(answer, ensure_ascii=False)) from None
        text, thought = cut_thought(text, opened=True)
        return Reply(index, text, tokens, thought)

    def _chat(self, body: dict[str, Any]) -> Any:
        """The server's answer, with the variables of the chat template if it takes them."""
        kwargs = self.template_kwargs
        if not kwargs:
            return self._ask(body)
        try:
            return self._ask(body | {KWARGS: kwargs})
        except _UnknownField:
            self._do_without()
            return self._ask(body)

    def _do_without(self) -> None:
        """Send no variables from now on; the first thread that comes here says so."""
        with self._refusal:
            if not self.template_kwargs:
                return
            named = ", ".join(f"{name}={value!r}" for name, value in self.template_kwargs.items())
            self.template_kwargs = {}
        thoughts = self.form is not None and self.form.facts["switches"]
        print(
            f"{self.url}: the server takes none of {KWARGS} ({named}), so "
            + ("replies may begin with thoughts" if thoughts else "its own values decide"),
            file=sys.stderr,
        )

    def _ask(self, body: dict[str, Any]) -> Any:
        """The server's answer, through the Hub's session, which repeats what may pass.

        Raises _UnknownField when the server refuses the field with the template's variables.
        """
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            answer = get_session().post(
                self.url,
                content=json.dumps(body, ensure_ascii=False).encode(),
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
                extensions={OTHER_SERVER: True},
            )
        except HubUnavailable as error:
            remedy = "once it runs, the same command goes on where this one ended"
            raise KoSentError(self.url, error.what, remedy) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise KoSentError(self.url, str(error), "check --endpoint") from None
        if not answer.is_success:
            refused = answer.status_code in (400, 422) and KWARGS in answer.text
            kind = _UnknownField if refused and KWARGS in body else KoSentError
            raise kind(
                self.url,
                f"HTTP {answer.status_code}: {answer.text[:300]}",
                "check --endpoint, --model and the token",
            )
        try:
            return answer.json()
        except ValueError:
            raise self._no_chat(answer.text) from None

    def _no_chat(self, answer: str) -> KoSentError:
        return KoSentError(
            self.url,
            f"not an answer of OpenAI's chat protocol ({answer[:200]})",
            "check --endpoint",
        )


class _UnknownField(KoSentError):
    """The server does not know the field with the variables of the chat template."""


def _token(url: str) -> str | None:
    """OPENAI_API_KEY; for Hugging Face's own servers, and no others, the Hub token."""
    if os.environ.get("OPENAI_API_KEY"):
        return os.environ["OPENAI_API_KEY"]
    try:
        host = urllib.parse.urlsplit(url).hostname or ""
    except ValueError as error:
        raise KoSentError(url, str(error), "check --endpoint") from None
    if host == "huggingface.co" or host.endswith((".huggingface.co", ".huggingface.cloud")):
        return get_token()
    return None
