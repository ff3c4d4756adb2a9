"""A server that speaks OpenAI's chat protocol: vLLM, `transformers serve`, TGI, providers."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.backends import Reply, TargetScore
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.locate import ModelRef
from model_card.publishing.errors import KoSentError
from model_card.records import EvaluatedModel

TRIES = 6
TIMEOUT_SECONDS = 600
# Worth another try: too many requests, and servers that are starting, busy or restarting.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class EndpointBackend:
    """Replies of a model behind an address; its template and number format are the server's."""

    def __init__(
        self, model: ModelRef, max_new_tokens: int, endpoint: str, concurrency: int
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
        self.template_sha256 = "applied by the server"
        self.template_example: str | None = None
        self.generation: dict[str, Any] = {
            "temperature": 0,
            "max_new_tokens": max_new_tokens,
        }
        self.token = _token(self.url)

    def replies(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Reply]:
        """The wanted samples' replies as they come, a bounded number of requests at a time."""
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
        """Nothing: the protocol has no way to ask how likely a given reply is."""
        return iter(())

    def close(self) -> None:
        """Nothing: the server is not ours."""

    def _reply(self, index: int, sample: Sample) -> Reply:
        body = {
            "model": self.name,
            "messages": list(sample.messages),
            "temperature": 0,
            "max_tokens": self.generation["max_new_tokens"],
            "stream": False,
        }
        answer = self._ask(json.dumps(body, ensure_ascii=False).encode())
        try:
            text = answer["choices"][0]["message"]["content"] or ""
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        except (KeyError, IndexError, TypeError, AttributeError):
            said = json.dumps(answer, ensure_ascii=False)[:200]
            raise KoSentError(
                self.url, f"not an answer of OpenAI's chat protocol ({said})", "check --endpoint"
            ) from None
        return Reply(index, text.strip(), tokens)

    def _ask(self, body: bytes) -> Any:
        """The server's answer; asked again while what goes wrong may pass."""
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, body, headers)
        for attempt in range(1, TRIES + 1):
            pause = min(2.0**attempt / 4, 30.0)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                why = f"HTTP {error.code}: {error.read(300).decode('utf-8', 'replace')}"
                if error.code not in PASSING:
                    raise KoSentError(
                        self.url, why, "check --endpoint, --model and the token"
                    ) from None
                pause = _retry_after(error) or pause
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = str(getattr(error, "reason", error) or type(error).__name__)
            if attempt < TRIES:
                time.sleep(pause)
        raise KoSentError(
            self.url,
            f"no answer in {TRIES} tries ({why})",
            "once it runs, the same command goes on where this one ended",
        )


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Seconds that the server asks to wait, at most a minute."""
    value = error.headers.get("Retry-After", "")
    return min(float(value), 60.0) if value.isdigit() else None


def _token(url: str) -> str | None:
    """OPENAI_API_KEY; for Hugging Face's own servers, and no others, the Hub token."""
    if os.environ.get("OPENAI_API_KEY"):
        return os.environ["OPENAI_API_KEY"]
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "huggingface.co" or host.endswith((".huggingface.co", ".huggingface.cloud")):
        from huggingface_hub import get_token

        return get_token()
    return None
