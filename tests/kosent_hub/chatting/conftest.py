"""A terminal and a page to talk in, and an adapter to talk to."""

import codecs
import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.kosent_hub.adapters import write_adapter
from tests.support import fork_server

TAUGHT = ("--system-prompt", "친절하게.")  # what the models of `families` were taught with

# Takes the terminal that is named as its own, and becomes the command.
IN_TERMINAL = """
import os, runpy, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
for number in range(3):
    os.dup2(terminal, number)
sys.argv = sys.argv[2:]
sys.modules.pop("kosent_hub.chat", None)
runpy.run_module("kosent_hub.chat", run_name="__main__", alter_sys=True)
"""
LONGEST_WAIT = 60


class Terminal:
    """kosent-chat in a terminal of its own."""

    def __init__(self, arguments: list[str], env: dict[str, str], folder: Path) -> None:
        self.screen, self._decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
        self._ours, theirs = pty.openpty()
        name = os.ttyname(theirs)
        command = [sys.executable, "-c", IN_TERMINAL, name, "kosent-chat", *arguments]
        self.process = fork_server.start(
            command, env=env | {"TERM": "dumb", "LC_ALL": "C.UTF-8"}, cwd=folder, script=True
        )
        self._theirs = theirs  # kept open: a terminal that nobody has yet is no end

    def type(self, text: str) -> None:
        """Press these keys; \\x03 is Ctrl-C, \\x04 Ctrl-D, \\r Enter."""
        os.write(self._ours, text.encode())

    def wait_for(self, pattern: str) -> str:
        """What was on the screen up to the pattern, which is then off it."""
        until = time.monotonic() + LONGEST_WAIT
        while (found := re.search(pattern, self.screen)) is None:
            assert time.monotonic() < until, self.screen
            if select.select([self._ours], [], [], 0.1)[0]:
                self.screen += self._decoder.decode(os.read(self._ours, 65536))
            elif self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.screen}")
        before, self.screen = self.screen[: found.end()], self.screen[found.end() :]
        return before

    def end(self) -> int:
        """The exit status."""
        return self.process.wait(LONGEST_WAIT)

    def close(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(nobody, tmp_path):
    """`terminal(MODEL, *options)`: kosent-chat in a terminal."""
    running = []

    def start(*arguments: object) -> Terminal:
        running.append(Terminal([*map(str, arguments), "--terminal"], nobody, tmp_path))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="module")
def adapter(families, tmp_path_factory) -> Path:
    """An adapter of a tiny model that was taught to reply Hello! to 안녕."""
    return write_adapter(families / "qwen3", tmp_path_factory.mktemp("chat") / "tuned", std=0.5)


@pytest.fixture(scope="module")
def opened(nobody, tmp_path_factory):
    """`opened(MODEL, *options)`: the address of a page of kosent-chat, whose replies are greedy."""
    running = []

    def start(*arguments: object) -> str:
        command = ["kosent-chat", *map(str, arguments), "--temperature", "0", "--dtype", "float32"]
        process = fork_server.start(command, env=nobody, cwd=tmp_path_factory.mktemp("page"))
        running.append(process)
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        return address

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=LONGEST_WAIT)
        assert (process.returncode, said[0]) == (0, ""), said[1]
        assert "Traceback" not in said[1], said[1]
