"""Talking to a model: in the terminal, on a page beside its base, or in a Space of the Hub.

from kosent_hub.chatting import Options, chat
chat(Options(model="ORG/MODEL", terminal=True))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kosent_hub.chatting.options import Options

if TYPE_CHECKING:
    from kosent_hub.chatting.run import chat
    from kosent_hub.chatting.space.push import push_space

__all__ = ["Options", "chat", "push_space"]


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: they need torch.
    if name == "chat":
        from kosent_hub.chatting.run import chat

        return chat
    if name == "push_space":
        from kosent_hub.chatting.space.push import push_space

        return push_space
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
