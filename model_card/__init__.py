"""Records of training and evaluation -> a model card -> a Hub repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_card.api import check_card, publish_card, render_card

__all__ = ["check_card", "publish_card", "render_card"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: help answers at once, and every module imports this package.
    if name in __all__:
        from model_card import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
