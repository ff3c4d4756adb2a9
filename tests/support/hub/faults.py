"""What can go wrong on the way to a Hub, switched on while it runs.

A fault names the requests it hits with a regular expression searched in `METHOD /path?query`,
its kind, and how many requests it hits (None: all of them, until cleared). With `each`, it hits
the first of every address. Kinds:

| kind | what the client meets | options |
|---|---|---|
| `status` | this status instead of an answer | `code`, `retry_after`, `message` |
| `html` | a page, as from a portal or a proxy | `code` (200) |
| `lfs_refused` | an LFS batch that refuses each object | `code` (507), `message` |
| `reset` | the connection reset | `when`: see below; `kills` |
| `lost_answer` | the request is carried out, then the connection reset | `kills` |
| `truncate` | the answer ends early, its length promised in full | `keep` (bytes; half) |
| `corrupt` | as many bytes as promised, some of them others | |
| `trickle` | the answer's body slowly | `chunk` bytes (1) every `pause` seconds (0.05) |
| `delay` | the answer late | `seconds` |
| `gather` | an answer only once all `times` requests are there | |
| `commit` | somebody else's commit lands just before | `files`, `author` ("bob"), `title` |
| `delete_repo` | the repository deleted just before | |
| `expire_token` | the caller's token expired just before | |

A `reset` happens `when="before"` the request's body is read, `"reading"` half of it,
`"unanswered"` with the request read but not carried out, `"during"` the answer's body,
or `"after"` it. `kills` is a Future with the number of a process, the client's, which does not live
to see an unanswered or lost request. What goes wrong in an answer's body passes HEAD requests by.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    "status": {"code", "retry_after", "message"},
    "html": {"code"},
    "lfs_refused": {"code", "message"},
    "reset": {"when", "kills"},
    "lost_answer": {"kills"},
    "truncate": {"keep"},
    "corrupt": set(),
    "trickle": {"chunk", "pause"},
    "delay": {"seconds"},
    "gather": set(),
    "commit": {"files", "author", "title"},
    "delete_repo": set(),
    "expire_token": set(),
}
# A request that waits for others ends as a bug of the test when they do not come.
GATHER_SECONDS = 600
RESETS = ("before", "reading", "unanswered", "during", "after")


@dataclass
class Fault:
    match: str
    kind: str
    left: int | None = 1
    options: dict[str, Any] = field(default_factory=dict)
    each: bool = False
    hits: int = 0
    seen: set[str] = field(default_factory=set)
    gathered: threading.Barrier | None = None

    def __post_init__(self) -> None:
        # A misspelt fault would be a test that cannot fail.
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")
        unknown = set(self.options) - KINDS[self.kind]
        if unknown:
            raise ValueError(f"{self.kind} has no option {', '.join(sorted(unknown))}")
        if self.kind == "reset" and self.options.get("when", "before") not in RESETS:
            raise ValueError(f"a reset is one of {', '.join(RESETS)}")
        re.compile(self.match)
        if self.kind == "gather":
            self.gathered = threading.Barrier(self.left or 1, timeout=GATHER_SECONDS)

    @property
    def needs_body(self) -> bool:
        """Whether this fault can only be seen in an answer that has a body."""
        return self.kind in ("truncate", "corrupt", "trickle") or (
            self.options.get("when") == "during"
        )


class Faults:
    """Faults switched on; each request takes the first one that matches."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.left == 0 or not re.search(fault.match, f"{method} {target}"):
                    continue
                if method == "HEAD" and fault.needs_body:
                    continue
                address = f"{method} {target}"
                if fault.each and address in fault.seen:
                    continue
                fault.seen.add(address)
                if fault.left is not None:
                    fault.left -= 1
                fault.hits += 1
                return fault
        return None
