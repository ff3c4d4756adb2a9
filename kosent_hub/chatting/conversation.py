"""A conversation: who said what, and the file that it can be saved in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write, decode_text

Message = dict[str, str]


@dataclass(frozen=True)
class Turn:
    """What the user said, and the reply of each partner: "" where there is none."""

    said: str
    replies: tuple[str, ...]


def messages_of(turns: Iterable[Turn], partner: int, system_prompt: str = "") -> list[Message]:
    """The conversation with one partner, as a model is given it and as it is saved.

    What was said in turns that were not answered stands in one message with what was said next.
    """
    found: list[Message] = []
    if system_prompt.strip():
        found.append({"role": "system", "content": system_prompt})
    for turn in turns:
        if found and found[-1]["role"] == "user":
            said = f"{found.pop()['content']}\n{turn.said}"
        else:
            said = turn.said
        found.append({"role": "user", "content": said})
        if turn.replies[partner]:
            found.append({"role": "assistant", "content": turn.replies[partner]})
    return found


def in_need(turns: Iterable[Turn]) -> bool:
    """Whether the user says somewhere that they may be in need of help at once."""
    from kosent_hub.evaluation.safety.crisis import in_crisis

    return any(in_crisis(turn.said) for turn in turns)


def as_line(model: str, messages: Sequence[Message]) -> str:
    """The conversation as a line of JSONL with `messages`, as a dataset has them, and `model`."""
    return json.dumps({"model": model, "messages": list(messages)}, ensure_ascii=False) + "\n"


def save(path: Path, line: str, earlier: str | None = None) -> None:
    """Add the line to the file, in the place of `earlier` if that is its last one.

    Raises KoSentError for a file that holds something else than conversations.
    """
    before = decode_text(path.read_bytes(), path) if path.exists() else ""
    if before and not _is_conversation(before.rstrip("\n").rpartition("\n")[2]):
        raise KoSentError(path, "holds something else than conversations", "name another file")
    if earlier is not None:
        before = before.removesuffix(earlier)
    if before and not before.endswith("\n"):
        before += "\n"
    atomic_write(path, f"{before}{line}".encode())


def _is_conversation(line: str) -> bool:
    try:
        found: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("messages"), list)
