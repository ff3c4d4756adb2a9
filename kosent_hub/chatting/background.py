"""Work in another thread, followed as it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any

LOOK_UP_SECONDS = 0.1

Work = Callable[[Callable[[Any], None]], None]


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def follow(start: Callable[[Callable[[], None]], object], work: Work) -> Iterator[Any]:
    """What `work` hands over, as it does; None now and then, where there is nothing new.

    `start` runs a function in another thread; `work` gets the function to hand over with. Raises
    what `work` raises.
    """
    handed: Queue[Any] = Queue()

    def run() -> None:
        try:
            work(handed.put)
        except BaseException as error:
            handed.put(_End(error))
        else:
            handed.put(_End(None))

    start(run)
    while True:
        try:
            found = handed.get(timeout=LOOK_UP_SECONDS)
        except Empty:
            yield None
            continue
        if not isinstance(found, _End):
            yield found
        elif found.error is None:
            return
        else:
            raise found.error
