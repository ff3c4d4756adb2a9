"""Whatever the network, the Hub or others do: every command against every fault.

The cases are made from the tables in tests/faults/table.py. They run on several Hubs at once, for
most of the time goes by waiting; each test here looks at what came of its own case.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dataset_builder.cli import main as kosent_data
from tests.dataset_builder.corpora import TEST, TRAIN, records
from tests.dataset_builder.corpora import tree as write_files
from tests.faults.place import Files, Place, attempt, stock
from tests.faults.table import COMMANDS, NOT_MET, ROWS, Command, Row

PLACES = 4

CASES = [
    pytest.param(
        *(command, row),
        id=f"{command.name}: {row.key}",
        marks=() if command in row.quick else pytest.mark.slow,
    )
    for row in ROWS
    for command in COMMANDS
    if row.ends[command.name] != NOT_MET
]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path
) -> Iterator[dict[tuple[str, str], Future[None]]]:
    """The cases that were asked for, under way; each ends as `attempt` does."""
    folder = tmp_path_factory.mktemp("faults")
    source = write_files(
        folder / "source", {"train.json": records(TRAIN), "test.json": records(TEST)}
    )
    assert kosent_data(["build", str(source), str(folder / "dataset")]) == 0
    base: Files = {p.name: p.read_bytes() for p in tiny_llama.iterdir() if p.is_file()}
    base["README.md"] = b"---\nlicense: mit\n---\n# Tiny\n"
    first = Place(folder / "place-0")
    goods = stock(first, folder, base, folder / "dataset")
    asked = [
        item.callspec.params
        for item in request.session.items
        if getattr(item, "function", None) is test_the_matrix
    ]
    fresh: dict[str, Files | None] = {}
    for command in {params["command"].name: params["command"] for params in asked}.values():
        first.lay_out(command, goods)
        ended = first.run(command.program, command.arguments)
        assert ended.status == 0, ended.err
        fresh[command.name] = first.files(command)
    places: queue.Queue[Place] = queue.Queue()
    all_places = [first, *(Place(folder / f"place-{n}") for n in range(1, PLACES))]
    for place in all_places:
        places.put(place)

    def case(command: Command, row: Row) -> None:
        place = places.get()
        try:
            attempt(place, command, row, goods, fresh[command.name])
        finally:
            places.put(place)

    with ThreadPoolExecutor(PLACES) as pool:
        yield {
            (params["command"].name, params["row"].key): pool.submit(case, **params)
            for params in asked
        }
        pool.shutdown(cancel_futures=True)
    for place in all_places:
        place.close()


@pytest.mark.parametrize(("command", "row"), CASES)
def test_the_matrix(outcomes: dict, command: Command, row: Row) -> None:
    outcomes[command.name, row.key].result()
