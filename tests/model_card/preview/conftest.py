"""A preview that is started, and a folder to show."""

from __future__ import annotations

import shutil
import signal

import pytest

from tests.model_card.cards import RECORDS
from tests.support import fork_server


@pytest.fixture
def preview():
    """`preview(SOURCE, *options, env=None)`: start one, its address."""
    running = []

    def start(*arguments, env=None):
        process = fork_server.start(["kosent-card", "preview", *arguments], env=env)
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 0


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(RECORDS / "adapter", copy)
    return copy
