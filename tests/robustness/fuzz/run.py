"""One input after the other in this process, each held to the promises."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pyarrow.parquet as pq

from dataset_builder import build as build  # imported before any clock runs
from dataset_builder import cli as data
from model_card import check_card as check_card
from model_card import cli as card
from tests.dataset_builder.accounts import check_accounts
from tests.robustness.fuzz.inputs import Input, draw, write

# Of this process's time, and of the clock's, which a busy machine takes its own share of.
MAX_SECONDS, MAX_WAIT = 10, 60


class Hang(BaseException):
    """Longer than MAX_SECONDS; no code of ours catches it."""


def run(count: int, first: int = 0, say: Callable[[str], None] = print) -> Counter[str]:
    """How many inputs of each kind ended how; raises AssertionError naming the first that broke."""
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        for number in range(first, first + count):
            folder = Path(place) / "here"
            try:
                status = attempt(draw(number), folder)
            except BaseException as error:
                error.add_note(f"input {number}: python -m tests.robustness.fuzz 1 {number}")
                raise
            ends[f"exit status {status}"] += 1
            shutil.rmtree(folder)
            if (number - first + 1) % 500 == 0:
                say(f"{number - first + 1:,} inputs, {dict(ends)}")
    return ends


def attempt(given: Input, folder: Path) -> int:
    """The exit status of the command with this input, held to the promises."""
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    if any(name.startswith("../out/") for name in given.files):
        sample = {n: d for n, d in given.files.items() if not n.startswith("../")}
        write(source, sample)
        assert _quietly(lambda: data.main(["build", str(source), str(out)]))[0] == 0
    write(source, given.files)
    before = _contents(folder)
    argv = ["build", str(source), str(out)] if given.command == "data" else ["check", str(source)]
    argv += ["--overwrite"] if out.exists() else []
    main = data.main if given.command == "data" else card.main
    with _limited():
        status, said = _quietly(lambda: main(argv))
    assert status in (0, 2), said
    assert "Traceback" not in said, said
    after = _contents(folder)
    outside = {n: d for n, d in after.items() if n.partition("/")[0] != "out"}
    assert outside == {n: d for n, d in before.items() if n.partition("/")[0] != "out"}
    if given.command == "data" and status == 0:
        check_accounts(json.loads((out / "report.json").read_text("utf-8")), _kept(out))
    elif given.command == "data":
        assert after == before, "a refused build changed something"
        last = said.splitlines()[-1]
        assert last.startswith("kosent-data: ") and len(last) < 2000, said
    return status


def _kept(out: Path) -> int:
    """The turns in the Parquet files, each dialogue held to its form."""
    kept = 0
    for path in (out / "data").iterdir():
        for row in pq.read_table(path, columns=["messages", "turns"]).to_pylist():
            speakers = [message["role"] for message in row["messages"]]
            assert speakers == ["system", *["user", "assistant"] * row["turns"]]
            assert all(message["content"].strip() for message in row["messages"])
            kept += 2 * row["turns"]
    return kept


def _contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _quietly(command: Callable[[], int]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        return command(), said.getvalue()


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Hang

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGALRM, signal.SIGPROF)]
    signal.setitimer(signal.ITIMER_REAL, MAX_WAIT)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before:
            signal.signal(number, handler)
