"""docs/faults.md from the tables: `python -m tests.robustness.faults.page > docs/faults.md`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from tests.robustness.faults.table import COMMANDS, DONE, LINE, NOT_MET, ROWS, Command, Row
from tests.robustness.fuzz.found import FOUND, INPUTS, MODELS

HEAD = """\
# What happens when the Hub is out of order

Every command that talks to the Hub, against everything that may go wrong on the way. This page is
made from the tables that the tests are made from (`tests/robustness/faults/table.py`), by
`python -m tests.robustness.faults.page > docs/faults.md`; a test fails when it is not what the
tables say.

- **done**: after bounded retries the command ends well (exit status 0), and the repo holds what it
  should, in one commit.
- **line**: the command ends with one line (exit status 2) that says where, what, and what to do
  next. The repo is as it was, or created and empty; what is on your disk is untouched; and what
  the line says to do, done once the fault is gone, ends well. After a training that is
  `kosent-train push`, never the training; after an evaluation the same command, which
  generates no reply again.
- **-**: this command cannot meet this fault.

In every case nothing on the screen is a traceback, a token or a sentence of the corpus.

A request that only asks is repeated for `KOSENT_HUB_RETRY_SECONDS` seconds (30 unless you set it),
with pauses that double, or for as long as `Retry-After` asks within that time. A commit is
repeated only after looking whether it landed.
"""

FILES = f"""\
## Files of others, mutated

`make fuzz` tries {INPUTS:,} inputs, the same each time: the sample corpus in every container (csv,
tsv, cp949, UTF-16, xlsx, JSON; bare, in a zip, in a zip in a zip, in a tar) with its tables, bytes
and names mutated, the front matter of READMEs, and the records of a run. Each must end with exit
status 0 or 2 within ten seconds; no traceback; every row kept, or dropped under a reason; nothing
written but the output. The first that does not ends it; `make test-slow` tries the first tenth.

Then it tries {3 * MODELS:,} models: adapters' settings, the headers of their weights, and chat
templates, {MODELS} of each, mutated. Each is loaded or refused in one line, within a minute.
"""


XET = """\
## Xet

The matrix above runs with Xet off (`HF_HUB_DISABLE_XET=1`): large files go as LFS. How they
travel to and from the real Hub, by Xet, is run with the real hf-xet against the test Hub's own
Xet storage (`tests/robustness/test_xet.py`, slow): a dataset and an adapter go up and come back;
storage that refuses, for ever, is one line, and the same command goes on; a reset, a lost answer
or a 500 at each step of an upload leaves one commit; a download that breaks is fetched again.
hf-xet sends a request that fails six times before it gives up, which takes some minutes;
`HF_XET_CLIENT_RETRY_MAX_ATTEMPTS` and `HF_XET_CLIENT_RETRY_BASE_DELAY` change that,
`KOSENT_HUB_RETRY_SECONDS` does not.

Not run, because the test Hub answers 404 there and hf-xet does without: finding chunks that other
repositories have already (`/v1/chunks`), and grants to upload a xorb to another address
(`/v1/xorb-grants`). Nor: several ranges in one request, uploads over 64 MB, and storage that
compares the BLAKE3 hashes of chunks (the test Hub compares each file's SHA-256). `make hub-check
REPO=ORG/NAME` runs pushes, edits, a race and deletion on the real Hub, in private scratch repos,
with your token; no run of it is recorded here.
"""


def page() -> str:
    """The page's text."""
    cells = [(row, command) for row in ROWS for command in COMMANDS if _met(row, command)]
    quick = sum(row.quick(command) for row, command in cells)
    done = sum(row.ends[command.name] == DONE for row, command in cells)
    lines = [
        HEAD,
        f"Tried: {len(cells)} cases. Survived: {len(cells)}, of which {done} end well and "
        f"{len(cells) - done} in a line.\n`make test` tries {quick} of them (in bold), "
        "`make test-slow` the others.",
        "",
    ]
    for where, rows in groupby(ROWS, key=lambda row: row.where):
        lines += [f"## {where[0].upper()}{where[1:]}", "", *_table(rows), ""]
    found = ["What it found is mended:", "", *(f"- {one}" for one in FOUND)]
    return "\n".join([*lines, XET, FILES, *(found if FOUND else ["It has found nothing yet."]), ""])


def _table(rows: Iterable[Row]) -> list[str]:
    names = ["fault", *(f"`{command.name}`" for command in COMMANDS)]
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {row.fault} | {' | '.join(_cell(row, c) for c in COMMANDS)} |" for row in rows),
    ]


def _cell(row: Row, command: Command) -> str:
    end = row.ends[command.name]
    assert end in (DONE, LINE, NOT_MET)
    return f"**{end}**" if _met(row, command) and row.quick(command) else end


def _met(row: Row, command: Command) -> bool:
    return row.ends[command.name] != NOT_MET


if __name__ == "__main__":
    print(page(), end="")
