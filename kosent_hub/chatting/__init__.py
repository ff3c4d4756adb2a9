"""Talking to a model: in the terminal, or on a page beside its base.

from kosent_hub.chatting import Options, chat
chat(Options(model="ORG/MODEL", terminal=True))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kosent_hub.chatting.options import Options

if TYPE_CHECKING:
    from kosent_hub.chatting.run import chat

__all__ = ["Options", "chat"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: it needs torch.
    if name == "chat":
        from kosent_hub.chatting.run import chat

        return chat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
