"""A server that speaks OpenAI's chat protocol: vLLM, `transformers serve`, TGI, providers."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from huggingface_hub import get_session, get_token

from kosent_hub.evaluation.backends import TEMPLATE_VARIABLES, Reply, TargetScore, reply_seed, whole
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import ChatFormat, cut_thought
from kosent_hub.models.data import outside
from kosent_hub.models.locate import FormatChanged, Located, ModelRef, locate
from model_card.publishing.errors import HubUnavailable, KoSentError, explain
from model_card.publishing.session import OTHER_SERVER, direct_client, httpx
from model_card.records import EvaluatedModel

TIMEOUT_SECONDS, FACT_SECONDS = 600, 10
BUSY = (429, 502, 503, 504)
CHECK = "check --endpoint, --model and the token"
ONCE_IT_RUNS = "once it runs, the same command goes on where this one ended"
# What every request needs beside model and messages, and neutral values for what servers take, so
# that neither their own settings nor the model's decide: OpenAI's fields, and those of others.
NEEDED = ("temperature", "max_tokens")
OPENAI: dict[str, Any] = {
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "n": 1,
    "seed": 0,
}
BEYOND_OPENAI: dict[str, Any] = {
    "top_k": 1,  # greedy; the value that means "all" differs from server to server
    "min_p": 0,
    "min_tokens": 0,
    "repetition_penalty": 1,
    "repeat_penalty": 1,  # the same for llama.cpp
}
# What `transformers serve` takes of a model's generation_config.json instead of the file's values.
GENERATION_CONFIG: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
}
# At a temperature above 0 these differ: no token is left out. A `top_k` larger than any vocabulary
# means "all" on every server; a reply's own seed takes the place of `seed`.
DRAWN: dict[str, Any] = {"top_k": 2**30}
DRAWN_CONFIG: dict[str, Any] = {
    "do_sample": True,
    "top_k": 0,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
# Of what a server says of a model, what stays the same when it is started again.
MODEL_FACTS = ("id", "root", "parent", "owned_by", "max_model_len", "meta")
INFO_FACTS = ("model_id", "model_sha", "model_dtype", "dtype", "quantize", "version")


def locate_served(model: ModelRef) -> Located | None:
    """The parts of a model that a server has; None, and a line, where they are not to be had here.

    Raises FormatChanged as `locate` does.
    """
    try:
        return locate(model)
    except FormatChanged:
        raise
    except Exception as error:
        why = explain(error)
        if why is None:
            raise
        print(
            f"{model.model_id}: its chat template is not to be had here ({why}), so its server's "
            "own settings decide whether it thinks first, and whether it reads a system message",
            file=sys.stderr,
        )
        return None


class EndpointBackend:
    """Replies of a model behind a URL, with the chat template and number format of its server.

    With the model's chat format, the server gets its switches as `chat_template_kwargs`, and a
    system message that the template does not write in the first user message. A field that the
    server refuses is left out, which one line says and each reply records.
    """

    def __init__(
        self,
        model: ModelRef,
        form: ChatFormat | None,
        max_new_tokens: int,
        endpoint: str,
        concurrency: int,
        temperature: float = 0.0,
    ) -> None:
        self.base = endpoint.rstrip("/")
        self.url = f"{self.base}/chat/completions"
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
        self.form = form
        arguments = {} if form is None else form.arguments
        self.chat_format: dict[str, Any] = {"template_sha256": "applied by the server"}
        if form is not None:
            self.chat_format |= {name: form.facts[name] for name in ("switches", "system")}
        if form is not None and "date" in form.facts and "date_string" not in arguments:
            print(
                f"{self.name}: its chat template reads the clock, and a server tells it today's "
                f"date where the other backends tell it {form.facts['date']}",
                file=sys.stderr,
            )
        self.template_example: str | None = None
        self.temperature = temperature
        config = GENERATION_CONFIG | (DRAWN_CONFIG if temperature else {})
        # What is sent unless the server refuses it.
        self.optional = OPENAI | BEYOND_OPENAI | (DRAWN if temperature else {})
        self.refused: frozenset[str] = frozenset()
        self._refusal = Lock()
        self.generation: dict[str, Any] = {
            "temperature": temperature or 0,
            **self.optional,
            "generation_config": config,
            "max_new_tokens": max_new_tokens,
        }
        if temperature:
            del self.generation["seed"]
            self.generation["do_sample"] = True
        self.optional |= {"generation_config": json.dumps(config)}
        self.optional |= {TEMPLATE_VARIABLES: arguments} if arguments else {}
        self.parameters: int | None = None
        self.headers = {"Content-Type": "application/json"}
        if (token := _token(self.url)) is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        # A proxy would be one more machine that the text goes through.
        self.own_network = outside.is_own(endpoint)
        self.session = direct_client() if self.own_network else get_session()
        self.engine: dict[str, Any] = {
            "url": outside.without_secrets(endpoint),
            "concurrency": concurrency,
            "server": self._served(),
        }
        self.identity: dict[str, Any] = {
            "endpoint": self.engine["url"],
            "revision": model.revision,
            "server": self.engine["server"],
        }

    def ask_for(self, response_format: dict[str, Any]) -> None:
        """Send this `response_format` with every request from now on, unless it is refused."""
        self.optional |= {"response_format": response_format}

    def check_lengths(self, samples: Sequence[Sample]) -> None:
        """Nothing: the engine refuses what is too long by itself."""

    def replies(
        self, samples: Sequence[Sample], wanted: Sequence[int], seed: int = 0
    ) -> Iterator[Reply]:
        """The wanted samples' replies, in any order, from `concurrency` requests at a time."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            running: set[Future[Reply]] = set()
            try:
                for index in wanted:
                    running.add(pool.submit(self.reply, index, samples[index], seed))
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

    def score_texts(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Nothing, for the same reason."""
        return iter(())

    def close(self) -> None:
        """Close the connections; the server was not started here."""
        if self.own_network:
            self.session.close()

    def reply(self, index: int, sample: Sample, seed: int) -> Reply:
        """The reply to one sample; above temperature 0 it is drawn with the seed."""
        messages = list(sample.messages)
        if self.form is not None:
            messages = self.form.as_written(messages)
        body = {
            "model": self.name,
            "messages": messages,
            "temperature": self.generation["temperature"],
            "max_tokens": self.generation["max_new_tokens"],
            "stream": False,
        }
        own = {"seed": reply_seed(seed, json.dumps(messages).encode())} if self.temperature else {}
        answer, refused = self._chat(body, self.optional | own)
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] or ""
            stop = str(choice.get("finish_reason") or "")
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._no_chat(json.dumps(answer, ensure_ascii=False)) from None
        text, thought = cut_thought(text, opened=True)
        return Reply(index, whole(text, stop), tokens, stop, thought, refused=refused)

    def _chat(self, body: dict[str, Any], everything: Mapping[str, Any]) -> tuple[Any, list[str]]:
        """The server's answer, and which of the optional fields, `everything`, it had refused."""
        refused = self.refused
        while True:
            optional = {name: v for name, v in everything.items() if name not in refused}
            try:
                answer = self._ask(body | optional)
            except _BadRequest as error:
                more = _refused(error.answer, optional)
                if not more:
                    raise
                refused |= more
            else:
                self._do_without(refused)
                return answer, sorted(refused)

    def _do_without(self, refused: frozenset[str]) -> None:
        """Leave these fields out from now on; the first thread that comes here says so."""
        with self._refusal:
            new = refused - self.refused
            self.refused |= refused
        if not new:
            return
        names, then = sorted(new - {TEMPLATE_VARIABLES}), []
        if names:
            then.append("its own values decide")
        if TEMPLATE_VARIABLES in new:
            sent = ", ".join(f"{n}={v!r}" for n, v in self.optional[TEMPLATE_VARIABLES].items())
            names.append(f"{TEMPLATE_VARIABLES} ({sent})")
            if self.form is not None and self.form.facts["switches"]:
                then.append("replies may begin with thoughts")
        then = then or ["its own values decide"]
        print(
            f"{self.url}: the server takes none of {', '.join(names)}, so {' and '.join(then)}",
            file=sys.stderr,
        )

    def _served(self) -> dict[str, Any]:
        """What the server says of the model that it serves; {} where it says nothing."""
        listed = _list(self._fact(f"{self.base}/models", needed=True).get("data"))
        named = [model for model in listed if model.get("id") == self.name]
        found = (named or (listed if len(listed) == 1 else [{}]))[0]
        facts = {name: found[name] for name in MODEL_FACTS if name in found}
        root = self.base.removesuffix("/v1")
        info = self._fact(f"{root}/version") | self._fact(f"{root}/info")  # vLLM's; TGI's
        return facts | {name: info[name] for name in INFO_FACTS if name in info}

    def _fact(self, url: str, *, needed: bool = False) -> dict[str, Any]:
        """The object that a server gives at an address, {} if it has none there.

        Raises KoSentError for a fact that is needed when no server is reached, or a busy one.
        """
        answer = None
        with suppress(httpx.HTTPError):
            answer = self._get(url, repeat=False)
        if needed and (answer is None or answer.status_code in BUSY):
            try:
                answer = self._get(url, repeat=True)
            except HubUnavailable as error:
                raise KoSentError(self.url, error.what, ONCE_IT_RUNS) from None
        try:
            found = answer.json() if answer is not None and answer.is_success else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _get(self, url: str, *, repeat: bool) -> Any:
        return self.session.get(
            url,
            headers=self.headers,
            timeout=FACT_SECONDS,
            follow_redirects=False,
            extensions={OTHER_SERVER: repeat},
        )

    def _ask(self, body: dict[str, Any]) -> Any:
        """The server's answer, through a session that repeats what may pass.

        Raises _BadRequest when the server says that something is wrong with the request.
        """
        try:
            answer = self.session.post(
                self.url,
                content=json.dumps(body, ensure_ascii=False).encode(),
                headers=self.headers,
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
                extensions={OTHER_SERVER: True},
            )
        except HubUnavailable as error:
            raise KoSentError(self.url, error.what, ONCE_IT_RUNS) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise KoSentError(self.url, str(error), "check --endpoint") from None
        if answer.status_code in (400, 422):
            raise _BadRequest(self.url, answer)
        if not answer.is_success:
            raise KoSentError(self.url, _said(answer), CHECK)
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


class _BadRequest(KoSentError):
    """The server does not take the request; `answer` is all that it says."""

    def __init__(self, where: str, answer: Any) -> None:
        super().__init__(where, _said(answer), CHECK)
        self.answer = answer.text


def _said(answer: Any) -> str:
    return f"HTTP {answer.status_code}: {answer.text[:300]}"


def _refused(answer: str, optional: Mapping[str, Any]) -> frozenset[str]:
    """The optional fields of a request that the answer names; of those that it names, only the ones
    beyond OpenAI's protocol, if there are any: an answer may repeat the whole request.

    All fields beyond that protocol where it names no field at all, none where it names another.
    """
    named = {name for name in (*optional, *NEEDED) if re.search(rf"(?<![\w\\]){name}\b", answer)}
    beyond = optional.keys() - OPENAI.keys()
    if not named:
        return frozenset(beyond)
    return frozenset(named & beyond or named & optional.keys())


def _list(found: Any) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


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
