"""Engines that reply: transformers in this process, vLLM in this process, a server's endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kosent_hub.evaluation.options import Options
    from kosent_hub.evaluation.samples import Sample
    from kosent_hub.models.locate import Located, ModelRef
    from model_card.records import EvaluatedModel


@dataclass(frozen=True)
class Reply:
    """A sample's reply: its index among the samples, its text, and how many tokens it took.

    `thought`: a thought before the reply was cut off, and is among the tokens.
    """

    index: int
    text: str
    tokens: int
    thought: bool = False


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
    """What evaluation needs of an engine. `identity` distinguishes its weights from all others;
    `chat_format` are the facts of the text that it gets."""

    model: EvaluatedModel
    identity: dict[str, Any]
    chat_format: dict[str, Any]
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


def _transformers(_: ModelRef, model: Located | None, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.local.backend import TransformersBackend

    assert model is not None
    return TransformersBackend(model, options.max_new_tokens)


def _vllm(_: ModelRef, model: Located | None, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.vllm import VllmBackend

    assert model is not None
    return VllmBackend(model, options.max_new_tokens, options.engine_arg)


def _endpoint(model: ModelRef, located: Located | None, options: Options) -> Backend:
    from kosent_hub.evaluation.backends.endpoint import EndpointBackend

    assert options.endpoint is not None
    form = None if located is None else located.form
    return EndpointBackend(
        model, form, options.max_new_tokens, options.endpoint, options.concurrency
    )


# An engine's module is imported only when it is used: each needs libraries of its own.
BACKENDS = {"transformers": _transformers, "vllm": _vllm, "endpoint": _endpoint}
