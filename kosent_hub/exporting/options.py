"""What to export, and where to: the flags of kosent-export as one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id

# What a GGUF file's weights can be, as the converter names them.
KINDS = ("q8_0", "f16", "bf16")


@dataclass(frozen=True, kw_only=True)
class Options:
    """One export; see `kosent-export --help` for each field, whose flag has its name.

    Raises KoSentError for values that could only fail later.
    """

    run: str | Path
    merged: str | Path | None = None
    gguf: str | Path | None = None
    quantize: str | None = None
    ollama: str | Path | None = None
    repo_id: str | None = None
    public: bool = False
    score: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if (self.merged is None) == (self.gguf is None):
            raise KoSentError(None, "one of --merged DIR and --gguf FILE is needed, and only one")
        for name in ("quantize", "ollama"):
            if self.gguf is None and getattr(self, name) is not None:
                raise KoSentError(f"--{name}", "is about a GGUF file", "add --gguf FILE")
        if self.quantize is not None and self.quantize not in KINDS:
            raise KoSentError(
                f"--quantize {self.quantize}", "no such choice", f"name one of {', '.join(KINDS)}"
            )
        if self.gguf is not None and Path(self.gguf).suffix != ".gguf":
            raise KoSentError(f"--gguf {self.gguf}", "is no GGUF file", "let it end in .gguf")
        if self.repo_id is not None and not is_hub_id(self.repo_id):
            raise KoSentError(f"--repo-id {self.repo_id}", "is no Hub id", "give ORG/NAME")
        if self.public and self.repo_id is None:
            raise KoSentError("--public", "is about a repo", "name it with --repo-id ORG/NAME")

    @property
    def kind(self) -> str:
        """What the GGUF file's weights are to be."""
        return self.quantize or "f16"
