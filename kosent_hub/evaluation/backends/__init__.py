"""Engines that reply: transformers in this process, vLLM in this process, a server's endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kosent_hub.evaluation.options import Options
    from kosent_hub.evaluation.samples import Sample
    from kosent_hub.models.locate import ModelRef
    from model_card.records import EvaluatedModel


@dataclass(frozen=True)
class Reply:
    """A sample's reply: its index among the samples, its text, and how many tokens it took."""

    index: int
    text: str
    tokens: int


@dataclass(frozen=True)
class TargetScore:
    """Log-likelihood of a sample's true reply (its tokens and its end of turn) under the model.

    `nll` is the sum of the tokens' negative log-likelihoods in nats; `correct` counts the tokens
    that were the model's first choice.
    """

    index: int
    nll: float
    correct: int
    tokens: int


class Backend(Protocol):
    """What evaluation needs of an engine. `identity` distinguishes its weights from all others."""

    model: EvaluatedModel
    identity: dict[str, Any]
    template_sha256: str
    template_example: str | None
    generation: dict[str, Any]

    def replies(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Reply]:
        """Yields a Reply for each index in `wanted`, in any order."""
        ...

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Yields a TargetScore for each index in `wanted`, in any order; nothing if the engine
        cannot. All samples are passed so that batches, and so rounding, do not depend on `wanted`.
        """
        ...

    def close(self) -> None:
        """Free the model's memory, and end the processes that the engine started."""
        ...


def _transformers(model: ModelRef, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.local.backend import TransformersBackend

    return TransformersBackend(model, options.max_new_tokens)


def _vllm(model: ModelRef, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.vllm import VllmBackend

    return VllmBackend(model, options.max_new_tokens, options.engine_arg)


def _endpoint(model: ModelRef, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.endpoint import EndpointBackend

    assert options.endpoint is not None
    return EndpointBackend(model, options.max_new_tokens, options.endpoint, options.concurrency)


# An engine's module is imported only when it is used: each needs libraries of its own.
BACKENDS = {"transformers": _transformers, "vllm": _vllm, "endpoint": _endpoint}
