"""The conversations of the page's tabs, in this process's memory and nowhere else."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from threading import Event, Lock

from kosent_hub.chatting.conversation import Message, Turn, in_need, messages_of

# Tabs that are remembered, the latest ones. A Space has many, and one that is forgotten loses its
# crisis line.
MAX_TALKS = 1000


@dataclass
class Talk:
    """The conversation of one tab with all partners.

    `need` stays true once a turn has made it so. `stopped` belongs to the replies that are being
    made; replies that are begun later have another one.
    """

    turns: list[Turn] = field(default_factory=list)
    need: bool = False
    language: str = "ko"
    stopped: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def begin(self, turns: list[Turn]) -> Event:
        """Go on from these turns; what was being replied is stopped."""
        with self.lock:
            self.stopped.set()
            self.stopped = Event()
            self.turns = turns
            self.need = self.need or in_need(turns)
            return self.stopped

    def put(self, mine: Event, partner: int, reply: str) -> bool:
        """Set a partner's reply to the last turn; False if other replies were begun since."""
        with self.lock:
            if self.stopped is not mine:
                return False
            last = self.turns[-1]
            replies = tuple(reply if n == partner else r for n, r in enumerate(last.replies))
            self.turns = [*self.turns[:-1], replace(last, replies=replies)]
            return True


class Talks:
    """The talks by the random number that each tab keeps for itself."""

    def __init__(self) -> None:
        self._talks: OrderedDict[str, Talk] = OrderedDict()
        self._lock = Lock()

    def of(self, tab: str) -> Talk:
        """The tab's talk; a new one for a new tab."""
        with self._lock:
            talk = self._talks.setdefault(tab, Talk())
            self._talks.move_to_end(tab)
            while len(self._talks) > MAX_TALKS:
                self._talks.popitem(last=False)
            return talk


def shown(turns: list[Turn], partner: int) -> tuple[list[Message], list[int]]:
    """The messages of a partner's column, and the turn that each of them belongs to."""
    messages: list[Message] = []
    owners: list[int] = []
    for number, turn in enumerate(turns):
        found = messages_of([turn], partner)
        messages += found
        owners += [number] * len(found)
    return messages, owners
