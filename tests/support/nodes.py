"""Two machines of one's own: network namespaces, joined by a pair of virtual network cards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Node:
    """A namespace, its network card and its address there."""

    name: str
    card: str
    address: str

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command that runs there begins with."""
        return ("ip", "netns", "exec", self.name)

    def kill(self) -> None:
        """Kill every process there."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in listed.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """Two nodes that reach each other and nothing else; it takes root to make them."""
    names = [f"kosent-{os.getpid()}-{number}" for number in (1, 2)]
    nodes = [
        Node(name, f"kn{os.getpid()}-{number}", f"10.77.0.{number}")
        for number, name in enumerate(names, start=1)
    ]
    made = subprocess.run(["ip", "netns", "add", names[0]], capture_output=True, text=True)
    if made.returncode != 0:
        why = f"no network namespace can be made here: {made.stderr.strip()}"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    try:
        _ip("netns", "add", names[1])
        one, two = nodes
        _ip("link", "add", one.card, "type", "veth", "peer", "name", two.card)
        for node in nodes:
            _ip("link", "set", node.card, "netns", node.name)
            _ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", node.card)
            for card in (node.card, "lo"):
                _ip("-n", node.name, "link", "set", card, "up")
        yield one, two
    finally:
        for node in nodes:
            node.kill()
            subprocess.run(["ip", "netns", "delete", node.name], capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
