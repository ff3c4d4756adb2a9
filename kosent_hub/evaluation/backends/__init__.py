"""Engines that reply: transformers in this process, vLLM in this process, a server's endpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kosent_hub.evaluation.options import Options
    from kosent_hub.evaluation.samples import Sample
    from kosent_hub.models.locate import Located, ModelRef
    from model_card.records import EvaluatedModel


# The field of a request to a server with the variables of the chat template, switches among them.
TEMPLATE_VARIABLES = "chat_template_kwargs"
# Greedy decoding with nothing that changes the model's scores, whatever its own settings say. As
# every engine in this process generates, and what its record says beside length and stop tokens.
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "temperature": 0,
    "num_beams": 1,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": 0,
}
# What leaves all tokens to be drawn from.
ALL_TOKENS: dict[str, Any] = {"top_p": 1, "top_k": 0, "min_p": 0}


# Why a reply ended that the limit of new tokens cut.
CUT = "length"


@dataclass(frozen=True)
class Reply:
    """A sample's reply: its index among the samples, its text, and how many tokens it took.

    `stop` is why it ended: "stop" (its end of turn), "length" (the limit of new tokens), or what a
    server says otherwise, "" where it says nothing. `path` is the way by which an engine with
    several made it. `refused` are the fields of the request that the server refused, so that this
    reply was made without them. `thought`: a thought before the reply was cut off, and is among the
    tokens.
    """

    index: int
    text: str
    tokens: int
    stop: str
    thought: bool = False
    path: str = ""
    refused: Sequence[str] = ()


def decoding(temperature: float) -> dict[str, Any]:
    """GREEDY, or at a temperature above 0 what draws tokens by nothing but their probability."""
    if not temperature:
        return GREEDY
    return GREEDY | ALL_TOKENS | {"do_sample": True, "temperature": temperature}


def reply_seed(seed: int, prompt: bytes) -> int:
    """The seed of one reply's random numbers, so that it depends on no other reply.

    It has 31 bits, which every server takes.
    """
    digest = hashlib.sha256(f"{seed}\n".encode() + prompt).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def whole(text: str, stop: str) -> str:
    """The text without half a character at its end, where a reply that was cut has one.

    A character that takes several tokens is decoded to U+FFFD when the last of them are missing.
    """
    return text if stop == "stop" else text.rstrip("\ufffd").rstrip()


@dataclass(frozen=True)
class TargetScore:
    """Log-likelihood of a sample's true reply (its tokens and its end of turn) under the model.

    `nll` is the sum of the tokens' negative log-likelihoods in nats; `correct` counts the tokens
    that were the model's first choice. `tokens` is 0 for a reply that the model's chat template
    changes, so that it cannot be scored.
    """

    index: int
    nll: float
    correct: int
    tokens: int


class Backend(Protocol):
    """What evaluation needs of an engine.

    `identity` distinguishes its weights from all others; `chat_format` are the facts of the text
    that it gets, and `generation` how it is asked to reply. `engine` says what the replies were
    made with: device, batches, address. `parameters` is the number of the model's weights, None
    where only its server knows.
    """

    model: EvaluatedModel
    identity: dict[str, Any]
    chat_format: dict[str, Any]
    template_example: str | None
    generation: dict[str, Any]
    engine: dict[str, Any]
    parameters: int | None

    def check_lengths(self, samples: Sequence[Sample]) -> None:
        """Raise KoSentError if the engine would only meet in the middle that a sample is too long
        for the model."""
        ...

    def replies(
        self, samples: Sequence[Sample], wanted: Sequence[int], seed: int = 0
    ) -> Iterator[Reply]:
        """Yields a Reply for each index in `wanted`, in any order.

        At a temperature above 0 they are drawn with the seed, each with `reply_seed`.
        """
        ...

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Yields a TargetScore for each index in `wanted`, in any order; nothing if the engine
        cannot. All samples are passed so that batches, and so rounding, do not depend on `wanted`.
        """
        ...

    def score_texts(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """The same for the samples' targets as plain texts, outside any dialogue."""
        ...

    def close(self) -> None:
        """Free the model's memory, and end the processes that the engine started."""
        ...


def _transformers(_: ModelRef, model: Located | None, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.local.backend import TransformersBackend

    assert model is not None
    return TransformersBackend(model, options.max_new_tokens, options.temperature)


def _vllm(_: ModelRef, model: Located | None, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.vllm import VllmBackend

    assert model is not None
    return VllmBackend(model, options.max_new_tokens, options.engine_arg, options.temperature)


def _endpoint(model: ModelRef, located: Located | None, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.endpoint import EndpointBackend

    assert options.endpoint is not None
    form = None if located is None else located.form
    return EndpointBackend(
        model,
        form,
        options.max_new_tokens,
        options.endpoint,
        options.concurrency,
        options.temperature,
    )


# An engine's module is imported only when it is used: each needs libraries of its own.
BACKENDS = {"transformers": _transformers, "vllm": _vllm, "endpoint": _endpoint}
