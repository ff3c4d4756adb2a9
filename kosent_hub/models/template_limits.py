"""Limits on the time, memory and output of a chat template.

transformers runs templates in Jinja's sandbox, where they reach no file and no Python object. The
sandbox does not limit how long they run and how much they write.
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

MAX_SECONDS, MAX_MEMORY, MAX_TEXT = 10, 1 << 30, 1 << 22
# With larger numbers, or powers, a single operation may not end, and no signal interrupts it:
# `10 ** 10 ** 8`.
MAX_NUMBER, MAX_TEMPLATE = 1_000_000, 1 << 20


def check_template(template: str, where: str) -> None:
    """Raise KoSentError for a template that is huge, has huge numbers or does not parse."""
    from jinja2 import Environment, TemplateSyntaxError

    if len(template) > MAX_TEMPLATE:
        raise _refused(where, f"is {len(template):,} characters long")
    try:
        for _, kind, value in Environment().lex(template):
            if kind == "operator" and value == "**":
                raise _refused(where, "raises numbers to powers")
            if kind == "integer" and int(value.replace("_", ""), 0) > MAX_NUMBER:
                raise _refused(where, f"has the number {value[:20]}")
    except TemplateSyntaxError as error:
        raise _refused(where, f"is no template ({error})") from None


@contextmanager
def bounded(where: str) -> Iterator[None]:
    """Limit a rendering, within the block, to MAX_SECONDS and to MAX_MEMORY more bytes.

    Raises KoSentError, naming the model `where`, for a template that exceeds them or fails with
    any error but a jinja2.TemplateError. The limits need the main thread and a system with
    SIGALRM, which Windows has not (time), and Linux (memory).
    """
    from jinja2 import TemplateError

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise _refused(where, f"writes for more than {MAX_SECONDS} seconds")

    interruptible = threading.current_thread() is threading.main_thread()
    interruptible = interruptible and hasattr(signal, "SIGALRM")
    before = _limit_memory() if interruptible and sys.platform == "linux" else None
    if interruptible:
        handler = signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
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
    """The text; raises KoSentError if it is empty or longer than MAX_TEXT characters."""
    if not text:
        raise _refused(where, "writes nothing")
    if len(text) > MAX_TEXT:
        raise _refused(where, f"writes {len(text):,} characters for one dialogue")
    return text


def _limit_memory() -> tuple[int, int] | None:
    """Limit this process to MAX_MEMORY above its size now; the limit there was before, if any."""
    try:
        import resource
    except ImportError:
        return None
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(os.pread(_sizes(os.getpid()), 64, 0).split()[0])
    wanted = pages * resource.getpagesize() + MAX_MEMORY
    # RLIM_INFINITY is -1.
    limits = [limit for limit in (*before, wanted) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
    return before


@cache
def _sizes(process: int) -> int:
    """The kernel's file with a process's size, kept open because it is read for every rendering."""
    return os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)


def _refused(where: str, what: str) -> KoSentError:
    return KoSentError(where, f"its chat template {what}", "do not use this model as it is")
