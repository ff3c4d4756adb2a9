"""Python runs this at the start of a command that a test disturbs: see tests/support/disturbing.py.

A moment is when the command is about to make, write, rename or remove something in its working
folder. At moment number `at`, counted from 1 (among those about a `path`), it is

- killed, with SIGKILL;
- torn: the kernel ends it just as suddenly when the next file grows beyond `bytes`, which is in
  the middle of what a library writes, in whichever language;
- left with a full disk: a file takes all room but `bytes`;
- stopped, until somebody lets it go on.
"""

import atexit
import json
import os
import resource
import signal
import sys
from pathlib import Path

plan = json.loads(os.environ.get("KOSENT_TEST_DISTURB", "null"))
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
moments = 0


def watch(event, arguments):
    global moments
    if event == "open":
        path, _, flags = arguments
        if not flags & writing:
            return
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        path = arguments[0]
    else:
        return
    if isinstance(path, int):
        return
    path = os.fsdecode(path)
    if path.startswith("/") and not path.startswith(plan["below"]):
        return
    if plan.get("path", "") not in path:
        return
    moments += 1
    if moments == plan.get("at"):
        disturb()


def disturb():
    if plan["how"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif plan["how"] == "torn":
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan["bytes"], plan["bytes"]))
    elif plan["how"] == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        fill(plan["filler"], plan["bytes"])


def fill(path, room):
    """Take all room on the disk but some, by its last byte."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    size = 0
    for step in (1 << 20, 1 << 12):
        try:
            while True:
                size += os.write(file, bytes(step))
        except OSError:
            pass
    os.ftruncate(file, max(size - room, 0))
    os.close(file)


if plan:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make an OSError of it
    sys.addaudithook(watch)
    if plan["count"]:
        atexit.register(lambda: Path(plan["count"]).write_text(str(moments)))
