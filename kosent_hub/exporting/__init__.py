"""Taking a trained model home: merged into its base, as a GGUF file, for Ollama, scored again.

from kosent_hub.exporting import Options, export
export(Options(run="RUN", gguf="model.gguf")).checks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kosent_hub.exporting.options import Options

if TYPE_CHECKING:
    from kosent_hub.exporting.run import export

__all__ = ["Options", "export"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: it needs torch.
    if name != "export":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kosent_hub.exporting.run import export

    return export
