"""What was asked: one entry per request, written before its answer is sent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One request. `status` is None where the connection was dropped without an answer.

    `origin` is "hub", or "storage" for the second address that large files go to and come
    from (another port, hence another origin: a token must never get there). `fault` is the
    kind of the fault that hit this request.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    user: str | None
    status: int | None
    origin: str
    size: int
    fault: str | None = None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path} {self.status}"


class Journal:
    """Entries in the order in which they were answered."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
