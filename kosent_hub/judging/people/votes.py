"""One person's votes on the pairs of their queue, saved after each of them."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import replace
from typing import Any

from kosent_hub.judging import verdicts
from kosent_hub.judging.people.queue import KEYS, Shown, queue
from kosent_hub.judging.reading import Stored
from kosent_hub.judging.verdicts import Votes, about, votes_path
from model_card.publishing.errors import KoSentError

# The longest nickname, in characters.
NICKNAME = 80


def rater_hash(nickname: str) -> str:
    """What stands for a nickname in files and records. Raises KoSentError for an empty one."""
    name = unicodedata.normalize("NFC", nickname).strip()
    if not 0 < len(name) <= NICKNAME:
        raise KoSentError("nickname", f"must have 1 to {NICKNAME} characters")
    return hashlib.sha256(f"kosent-judge {name}".encode()).hexdigest()[:12]


class Ballot:
    """One rater's place in their queue. What was saved before is gone on with."""

    def __init__(self, stored: Stored, limit: int | None, rater: str) -> None:
        self._stored, self._path = stored, votes_path(stored, rater, rater)
        self._votes = Votes(about(stored), rater, rater, limit, [])
        if self._path.is_file():
            before = verdicts.read_votes(self._path, stored)
            # A larger limit only adds to the queue's end.
            limits = (limit, before.limit)
            most = None if None in limits else max(each for each in limits if each is not None)
            self._votes = replace(before, limit=most)
        self._queue: list[Shown] = list(queue(stored, self._votes.limit, rater))

    def state(self) -> dict[str, Any]:
        """What the page shows: how many votes there are, of how many, and the pair that is next."""
        at, total = len(self._votes.votes), len(self._queue)
        item = shown_item(self._stored, self._queue[at]) if at < total else None
        return {"at": at, "total": total, "item": item}

    def vote(self, at: int, key: str) -> bool:
        """Save a vote on the pair at a place; False, and nothing is saved, if another is next."""
        if key not in KEYS or at != len(self._votes.votes) or at >= len(self._queue):
            return False
        self._save([*self._votes.votes, key])
        return True

    def undo(self, at: int) -> bool:
        """Take the last vote back; False if the page does not show the pair after it."""
        if at != len(self._votes.votes) or at == 0:
            return False
        self._save(self._votes.votes[:-1])
        return True

    def _save(self, votes: list[str]) -> None:
        changed = replace(self._votes, votes=votes)
        verdicts.write(self._path, changed)
        self._votes = changed


def shown_item(stored: Stored, shown: Shown) -> dict[str, Any]:
    """A pair as the page gets it: the dialogue without its system message, left and right."""
    left, right = shown.texts(stored)
    turns = [
        {"role": message["role"], "content": message["content"]}
        for message in stored.messages[shown.pair.sample]
        if message["role"] in ("user", "assistant")
    ]
    return {"messages": turns, "left": left, "right": right}
