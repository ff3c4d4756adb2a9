"""Who judges which replies, and how: the flags of kosent-judge as one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kosent_hub.evaluation.backends import BACKENDS
from model_card.metrics import EN, KO
from model_card.publishing.errors import KoSentError

LANGUAGES = (KO, EN)
LOCAL_BACKENDS = tuple(name for name in BACKENDS if name != "endpoint")


@dataclass(frozen=True, kw_only=True)
class Options:
    """One judge's work; see `kosent-judge --help` for each field, whose flag has its name.

    `folders` are output folders of kosent-eval, `judge` a Hub id or folder. Raises KoSentError for
    values that could only fail later.
    """

    folders: Sequence[str | Path]
    judge: str | None = None
    endpoint: str | None = None
    judge_model: str | None = None
    i_may_send_this_text: str | None = None
    backend: str = "transformers"
    concurrency: int = 16
    max_new_tokens: int = 256
    language: str = KO
    limit: int | None = None
    seed: int = 0
    trust_remote_code: bool = False
    output: str | Path | None = None
    run: str | Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if (self.endpoint is None) != (self.judge_model is None):
            raise KoSentError(None, "--endpoint URL and --judge-model NAME go together")
        if (self.judge is None) == (self.endpoint is None):
            raise KoSentError(
                None,
                "one judge at a time",
                "name it with --judge ID|PATH, --endpoint URL --judge-model NAME, or --people",
            )
        for name, choices in (("backend", LOCAL_BACKENDS), ("language", LANGUAGES)):
            if getattr(self, name) not in choices:
                raise KoSentError(
                    f"--{name} {getattr(self, name)}",
                    "no such choice",
                    f"name one of {', '.join(choices)}",
                )
        for name in ("limit", "concurrency", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise KoSentError(f"--{name.replace('_', '-')} {value}", "must be 1 or more")
        if self.seed < 0:
            raise KoSentError(f"--seed {self.seed}", "must be 0 or more")

    @property
    def name(self) -> str:
        """The judge's Hub id, folder, or name at its server."""
        return self.judge or self.judge_model or ""
