"""What every test of this room needs: the real command, and what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dataset_builder.cli import main


@dataclass(frozen=True)
class Built:
    out: Path
    report: dict[str, Any]

    @property
    def splits(self) -> dict[str, list[dict[str, Any]]]:
        return {
            path.name.split("-")[0]: pq.read_table(path).to_pylist()
            for path in sorted((self.out / "data").iterdir())
        }

    def said(self, split: str) -> list[list[str]]:
        """The turns of each dialogue, without the system message."""
        rows = self.splits.get(split, [])
        return [[m["content"] for m in row["messages"][1:]] for row in rows]


Build = Callable[..., Built]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`build(source, "--as-is")`: the dataset folder made by the command, which must succeed."""

    def run(source: Path, *flags: str) -> Built:
        out = tmp_path / "out"
        assert main(["build", str(source), str(out), *flags]) == 0
        return Built(out, json.loads((out / "report.json").read_text("utf-8")))

    return run


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refused(source)`: the one line with which the command refuses, OUT left alone."""

    def run(source: Path, *flags: str) -> str:
        out = tmp_path / "out"
        assert main(["build", str(source), str(out), *flags]) == 2
        assert not out.exists()
        assert not list(tmp_path.glob(".out*"))
        lines = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("kosent-data: ")
        ]
        (line,) = lines
        return line.removeprefix("kosent-data: ")

    return run
