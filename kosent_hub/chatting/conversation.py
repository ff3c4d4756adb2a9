"""A conversation: who said what, and the file that it can be saved in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write, decode_text

Message = dict[str, str]


def say(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages and what the user says now; after an unanswered turn it belongs to that one."""
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    if messages and messages[-1]["role"] == "user":
        text = f"{messages[-1]['content']}\n{text}"
        messages = messages[:-1]
    return [*messages, {"role": "user", "content": text}]


def answer(messages: Sequence[Message], reply: str) -> list[Message]:
    """The messages and the reply; an empty reply is none."""
    return [*messages, {"role": "assistant", "content": reply}] if reply else list(messages)


def unanswered(messages: Sequence[Message]) -> list[Message]:
    """The messages up to the user's last turn, and that turn."""
    return list(messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages)


def with_system(system_prompt: str, messages: Iterable[Message]) -> list[Message]:
    """The messages as a model is given them, and as they are saved."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt.strip() else []
    return [*system, *messages]


def in_need(messages: Iterable[Message]) -> bool:
    """Whether the user says somewhere that they may be in need of help at once."""
    from kosent_hub.evaluation.safety.crisis import in_crisis

    return any(in_crisis(m["content"]) for m in messages if m["role"] == "user")


def as_line(messages: Sequence[Message]) -> str:
    """The conversation as a line of JSONL, as `kosent-data export` writes dialogues."""
    return json.dumps({"messages": list(messages)}, ensure_ascii=False) + "\n"


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
