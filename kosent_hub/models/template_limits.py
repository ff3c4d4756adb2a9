"""A bound on what a chat template may take while it writes a dialogue.

transformers runs templates in Jinja's sandbox: they reach no file and no Python object. But the
sandbox lets them run for ever and write without end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

from model_card.publishing.errors import KoSentError

SECONDS, MEMORY, LONGEST = 10, 1 << 30, 1 << 22
# With larger numbers, or powers, one step takes for ever, and no signal ends it: `10 ** 10 ** 8`.
LARGEST_NUMBER, LARGEST_TEMPLATE = 1_000_000, 1 << 20


def check_template(template: str, where: str) -> None:
    """Raise KoSentError for a template that no dialogue needs: huge, or with huge numbers."""
    from jinja2 import Environment, TemplateSyntaxError

    if len(template) > LARGEST_TEMPLATE:
        raise _refused(where, f"is {len(template):,} characters long")
    try:
        for _, kind, value in Environment().lex(template):
            if kind == "operator" and value == "**":
                raise _refused(where, "raises numbers to powers")
            if kind == "integer" and int(value.replace("_", ""), 0) > LARGEST_NUMBER:
                raise _refused(where, f"has the number {value[:20]}")
    except TemplateSyntaxError as error:
        raise _refused(where, f"is no template ({error})") from None


@contextmanager
def bounded(where: str) -> Iterator[None]:
    """Let a template of the model `where` run, for `SECONDS` and within `MEMORY` more bytes.

    Raises KoSentError where it does not end, or fails in another way than a template's own
    (jinja2.TemplateError). Only a main thread can be interrupted, and only Linux says how much
    memory there is already; elsewhere a template runs as it likes.
    """
    from jinja2 import TemplateError

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise _refused(where, f"writes for more than {SECONDS} seconds")

    interruptible = threading.current_thread() is threading.main_thread()
    before = _limit_memory() if interruptible and sys.platform == "linux" else None
    if interruptible:
        handler = signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    except (MemoryError, RecursionError) as error:
        raise _refused(where, f"writes without end ({type(error).__name__})") from None
    except (KoSentError, TemplateError):
        raise
    except Exception as error:
        raise _refused(where, f"fails ({type(error).__name__}: {error})") from error
    finally:
        if interruptible:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        if before is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, before)


def check_text(text: str, where: str) -> str:
    """The text; raises KoSentError if there is none, or more than any dialogue has."""
    if not text:
        raise _refused(where, "writes nothing")
    if len(text) > LONGEST:
        raise _refused(where, f"writes {len(text):,} characters for one dialogue")
    return text


def _limit_memory() -> tuple[int, int]:
    """The limit as it was, after one of `MEMORY` above what this process has."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(os.pread(_sizes(os.getpid()), 64, 0).split()[0])
    wanted = pages * resource.getpagesize() + MEMORY
    # RLIM_INFINITY is -1.
    limits = [limit for limit in (*before, wanted) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
    return before


@cache
def _sizes(process: int) -> int:
    """The file in which the kernel tells a process's size, kept open: this is asked often."""
    return os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)


def _refused(where: str, what: str) -> KoSentError:
    return KoSentError(where, f"its chat template {what}", "do not use this model as it is")
