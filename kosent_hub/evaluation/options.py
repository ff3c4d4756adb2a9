"""What to evaluate, and how: the flags of kosent-eval as one object."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.backends import BACKENDS
from kosent_hub.models.data.chat_dataset import MAX_DROPPED, check_share
from model_card.metrics import METRICS
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.records import BENCH

DTYPES = ("float32", "bfloat16", "float16")
# What cannot be chosen on KoSent-Bench: it is one split, without training dialogues, and has crisis
# prompts of its own.
BENCH_HAS_NO = {
    "dataset_config": None, "dataset_revision": None, "split": "test", "few_shot": 0,
    "safety": None,
}  # fmt: skip
# Fields that bear on scores: those of `Options.settings`.
SETTING = {"setting": True}


@dataclass(frozen=True, kw_only=True)
class Options:
    """One evaluation; see `kosent-eval --help` for each field, whose flag has its name.

    `model`, `baseline`, `dataset` and `embedder` are Hub ids or folders, `chat_template` is a file;
    the dataset `kosent-bench` is in the package.
    Raises KoSentError for values that could only fail later.
    """

    model: str
    dataset: str
    revision: str | None = field(default=None, metadata=SETTING)
    baseline: str | None = field(default=None, metadata=SETTING)
    baseline_system_prompt: str | None = field(default=None, metadata=SETTING)
    few_shot: int = field(default=0, metadata=SETTING)
    dataset_config: str | None = field(default=None, metadata=SETTING)
    dataset_revision: str | None = field(default=None, metadata=SETTING)
    split: str = "test"
    limit: int | None = field(default=None, metadata=SETTING)
    safety: bool | None = field(default=None, metadata=SETTING)
    backend: str = field(default="transformers", metadata=SETTING)
    endpoint: str | None = None
    i_may_send_this_text: str | None = None
    concurrency: int = 16
    engine_arg: Mapping[str, Any] = field(default_factory=dict, metadata=SETTING)
    embedder: str = field(default="jhgan/ko-sroberta-multitask", metadata=SETTING)
    max_new_tokens: int = field(default=128, metadata=SETTING)
    temperature: float = field(default=0.0, metadata=SETTING)
    seeds: int = field(default=1, metadata=SETTING)
    dtype: str | None = field(default=None, metadata=SETTING)
    chat_template: str | Path | None = field(default=None, metadata=SETTING)
    seed: int = field(default=0, metadata=SETTING)
    primary_metric: str = field(default="chrf", metadata=SETTING)
    new_chat_format: bool = field(default=False, metadata=SETTING)
    max_dropped: float = MAX_DROPPED
    trust_remote_code: bool = False
    output: str | Path | None = None
    every_eval_ever: str | Path | None = None
    push: bool = False
    create_pr: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        for name in ("limit", "max_new_tokens", "concurrency", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise KoSentError(f"--{name.replace('_', '-')} {value}", "must be 1 or more")
        for name, choices in (("backend", BACKENDS), ("dtype", DTYPES)):
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise KoSentError(
                    f"--{name} {value}", "no such choice", f"name one of {', '.join(choices)}"
                )
        if self.primary_metric not in METRICS:
            raise KoSentError(
                f"--primary-metric {self.primary_metric}",
                "no such metric",
                f"name one of {', '.join(METRICS)}",
            )
        if not 0 <= self.temperature < math.inf:
            raise KoSentError(f"--temperature {self.temperature}", "must be 0 or more")
        if self.seeds > 1 and not self.temperature:
            raise KoSentError(
                f"--seeds {self.seeds}",
                "greedy replies are the same with every seed",
                "add --temperature T",
            )
        if self.few_shot < 0:
            raise KoSentError(f"--few-shot {self.few_shot}", "must be 0 or more")
        if self.baseline_system_prompt is not None and self.baseline is None:
            raise KoSentError(
                "--baseline-system-prompt", "there is no baseline", "add --baseline ID_OR_PATH"
            )
        if self.dataset == BENCH:
            self._check_bench()
        check_share(self.max_dropped)
        if self.writes_card and Path(self.model).exists():
            raise KoSentError(
                self.model,
                f"a {'folder' if Path(self.model).is_dir() else 'file'} has no card on the Hub",
                f"leave --push out, then run kosent-card push {self.model} --repo-id ORG/NAME",
            )
        if (self.backend == "endpoint") != (self.endpoint is not None):
            raise KoSentError(None, "--backend endpoint and --endpoint URL go together")

    def _check_bench(self) -> None:
        """Raise KoSentError for what KoSent-Bench does not have."""
        for name, usual in BENCH_HAS_NO.items():
            if getattr(self, name) != usual:
                raise KoSentError(
                    f"--{name.replace('_', '-')}",
                    f"there is no such choice on {BENCH}",
                    f"leave it out; a folder of that name is ./{BENCH}",
                )

    @property
    def writes_card(self) -> bool:
        """Whether the scores go into the model's card on the Hub."""
        return self.push or self.create_pr

    @property
    def with_safety(self) -> bool:
        """Whether the crisis part of KoSent-Bench is asked beside the dataset; by default, unless
        `limit` is set. On the whole benchmark there is no such choice.
        """
        if self.dataset == BENCH:
            return False
        return self.limit is None if self.safety is None else self.safety

    @property
    def reply_seeds(self) -> list[int]:
        """The seeds that the replies are drawn with, `seed` and those after it."""
        return list(range(self.seed, self.seed + self.seeds))

    @cached_property
    def baseline_system(self) -> str | None:
        """The baseline's own system message: the text that was given, or that of the file given."""
        given = self.baseline_system_prompt
        try:
            if given is None or not Path(given).is_file():
                return given
        except OSError:  # a text too long to be a path
            return given
        return decode_text(Path(given).read_bytes(), Path(given)).strip()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The options that bear on scores and were not left at their defaults.

        They are part of the record and of the folder's name. The commits that are read are no
        settings: the same command, given again, is the same evaluation.
        """
        usual = Options(model=self.model, dataset=self.dataset)
        names = [option.name for option in fields(self) if "setting" in option.metadata]
        found = {n: getattr(self, n) for n in names if getattr(self, n) != getattr(usual, n)}
        if self.with_safety == (self.limit is None):
            found.pop("safety", None)  # what was asked for would have happened anyway
        for name in {"baseline", "embedder"} & found.keys():
            found[name] = record_id(found[name])
        if self.chat_template is not None:
            content = Path(self.chat_template).read_bytes()
            found["chat_template"] = hashlib.sha256(content).hexdigest()[:12]
        if self.baseline_system is not None:
            content = self.baseline_system.encode()
            found["baseline_system_prompt"] = hashlib.sha256(content).hexdigest()[:12]
        if self.engine_arg:
            found["engine_arg"] = dict(self.engine_arg)
        return found


def record_id(name: str) -> str:
    """The Hub id, or for a folder or file the name that a record gives it; the Hub is not asked."""
    from kosent_hub.models.repos.repo import resolve

    return resolve(name).id if Path(name).exists() else name
