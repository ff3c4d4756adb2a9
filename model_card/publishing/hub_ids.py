"""What a Hub id is: the name of a model or dataset repo."""

from __future__ import annotations

import re

_OWNER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")


def is_hub_id(text: str, *, owner_optional: bool = False) -> bool:
    """Whether the text reads like OWNER/NAME; with `owner_optional` like NAME too (`gpt2`).

    The Hub's client, and the Hub, have further rules. What passes here is no path out of a folder
    (`../x`), and harmless in a link and in YAML.
    """
    owner, slash, name = text.rpartition("/")
    if not slash:
        return owner_optional and _OWNER.fullmatch(name) is not None
    return _OWNER.fullmatch(owner) is not None and _NAME.fullmatch(name) is not None
