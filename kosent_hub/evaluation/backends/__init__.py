"""Ways to get replies: transformers in this process, vLLM in this process, a server's endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.locate import ModelRef
from model_card.records import EvaluatedModel


@dataclass(frozen=True)
class Request:
    """What to load and how to generate with it, the same for every backend."""

    model: ModelRef
    max_new_tokens: int
    endpoint: str | None = None
    concurrency: int = 16
    engine_args: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Reply:
    """A sample's reply: its place among the samples, text, new tokens."""

    index: int
    text: str
    tokens: int


@dataclass(frozen=True)
class Fit:
    """How a sample's true reply fits the model, over its tokens and its end of turn.

    `nll` is the sum of their negative log-likelihoods in nats; `correct` counts those that were
    the model's first choice.
    """

    index: int
    nll: float
    correct: int
    tokens: int


class Backend(Protocol):
    """What evaluation needs of an engine. `identity` tells its weights from any others."""

    model: EvaluatedModel
    identity: dict[str, Any]
    template_sha256: str
    template_example: str | None
    generation: dict[str, Any]

    def replies(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Reply]:
        """The replies to the samples at these places, in any order."""
        ...

    def fits(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Fit]:
        """How the true replies at these places fit, in any order; nothing where the engine cannot
        tell. The samples at other places are there to be computed beside."""
        ...

    def close(self) -> None:
        """End what runs outside of this process."""
        ...


def load(name: str, request: Request) -> Backend:
    """The backend of that name with the requested model in it."""
    if name == "vllm":
        from kosent_hub.evaluation.backends.vllm import VllmBackend

        return VllmBackend(request)
    if name == "endpoint":
        from kosent_hub.evaluation.backends.endpoint import EndpointBackend

        return EndpointBackend(request)
    from kosent_hub.evaluation.backends.local.backend import TransformersBackend

    return TransformersBackend(request)
