"""Whom to talk to, and how: the flags of kosent-chat as one object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kosent_hub.evaluation.options import DTYPES
from model_card.publishing.errors import KoSentError


@dataclass(frozen=True, kw_only=True)
class Options:
    """One chat; see `kosent-chat --help` for each field, whose flag has its name.

    `model` and `baseline` are Hub ids or folders, with `endpoint` the names that its server knows;
    `chat_template` is a file. `port` 0 is any that is free. Raises KoSentError for values that
    could only fail later.
    """

    model: str
    revision: str | None = None
    baseline: str | None = None
    endpoint: str | None = None
    i_may_send_this_text: str | None = None
    terminal: bool = False
    port: int = 0
    system_prompt: str | None = None
    temperature: float = 0.7
    max_new_tokens: int = 256
    dtype: str | None = None
    chat_template: str | Path | None = None
    new_chat_format: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise KoSentError(f"--max-new-tokens {self.max_new_tokens}", "must be 1 or more")
        if not 0 <= self.temperature < math.inf:
            raise KoSentError(f"--temperature {self.temperature}", "must be 0 or more")
        if not 0 <= self.port < 2**16:
            raise KoSentError(f"--port {self.port}", "must be 0 to 65535")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise KoSentError(
                f"--dtype {self.dtype}", "no such choice", f"name one of {', '.join(DTYPES)}"
            )
        if self.terminal and self.baseline is not None:
            raise KoSentError(
                "--baseline", "a terminal has room for one model", "leave --terminal out"
            )
