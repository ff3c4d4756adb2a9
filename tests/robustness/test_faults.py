"""Whatever the network, the Hub or others do, in two layers, made from faults/table.py.

Every command against a fault that passes, one that stays, and each standing refusal; with --slow,
against all of them, and then doing what its line says. Single requests against every fault are in
tests/robustness/faults/test_requests.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataset_builder.cli import main as kosent_data
from tests.dataset_builder.corpora import TEST, TRAIN, records
from tests.dataset_builder.corpora import tree as write_files
from tests.robustness.faults.page import page
from tests.robustness.faults.place import Files, Goods, Place, attempt, stock
from tests.robustness.faults.table import COMMANDS, FROM_THE_START, NOT_MET, ROWS, Command, Row
from tests.support import ROOT

CELLS = [
    (command, row) for row in ROWS for command in COMMANDS if row.ends[command.name] != NOT_MET
]


def cells(*, quick: bool) -> list:
    """The cells of the matrix that every run tries, or all, as parameters of a test."""
    return [
        pytest.param(command, row, id=f"{command.name}: {row.key}")
        for command, row in CELLS
        if row.quick(command) or not quick
    ]


@dataclass(frozen=True)
class Matrix:
    """A place, what the commands start from, and what each writes when all goes well."""

    place: Place
    goods: Goods
    fresh: dict[str, Files | None] = field(default_factory=dict)

    def attempt(self, command: Command, row: Row, *, resume: bool) -> None:
        if command.name not in self.fresh:
            self.place.lay_out(command, self.goods)
            ended = self.place.run(command.program, command.arguments)
            assert ended.returncode == 0, ended.stderr
            self.fresh[command.name] = self.place.files(command)
        attempt(self.place, command, row, self.goods, self.fresh[command.name], resume=resume)


@pytest.fixture(scope="session")
def matrix(worker_hub, tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Matrix:
    folder = tmp_path_factory.mktemp("faults")
    source = write_files(
        folder / "source", {"train.json": records(TRAIN), "test.json": records(TEST)}
    )
    assert kosent_data(["build", str(source), str(folder / "dataset")]) == 0
    base: Files = {p.name: p.read_bytes() for p in tiny_llama.iterdir() if p.is_file()}
    base["README.md"] = b"---\nlicense: mit\n---\n# Tiny\n"
    place = Place(worker_hub, folder)
    return Matrix(place, stock(place, folder, base, folder / "dataset"))


@pytest.mark.parametrize(("command", "row"), cells(quick=True))
def test_each_command(matrix: Matrix, command: Command, row: Row) -> None:
    # What is refused from the start has done nothing that could be resumed.
    matrix.attempt(command, row, resume=row.where != FROM_THE_START)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "row"), cells(quick=False))
def test_the_matrix(matrix: Matrix, command: Command, row: Row) -> None:
    matrix.attempt(command, row, resume=True)


def test_the_page_says_what_the_tables_say() -> None:
    written = (ROOT / "docs" / "faults.md").read_text("utf-8")
    assert written == page(), "run: python -m tests.robustness.faults.page > docs/faults.md"
