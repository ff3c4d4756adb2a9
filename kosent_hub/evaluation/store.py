"""The records of a run as they are made, in files that are only ever appended to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.backends import Backend
from kosent_hub.evaluation.samples import Sample


class CompletionStore:
    """The records of one output folder, each under a key made of what the record depends on.

    Every process appends to a file of its own and reads those of all. Records in the folders
    `beside` count too; those are read once, when the store is opened.
    """

    def __init__(self, folder: Path, rank: int = 0, beside: Iterable[Path] = ()) -> None:
        self.folder, self.rank = folder, rank
        self.records: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for other in beside:
            self._read(other)
        self.read()

    def read(self) -> None:
        """Read what all processes have written."""
        self._read(self.folder)

    def _read(self, folder: Path) -> None:
        for path in sorted(folder.glob("completions-*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # the line that a killed run was writing
                    continue
                self.records[record.pop("key")] = record

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Append one record."""
        self.records[key] = record | {"rank": self.rank}
        line = json.dumps({"key": key, **self.records[key]}, ensure_ascii=False)
        with (self.folder / f"completions-{self.rank}.jsonl").open("ab") as file:
            # The line break comes first: a line cut short by a kill must not swallow this one.
            file.write(f"\n{line}".encode())

    def delete(self) -> None:
        """Remove the files of all processes, and forget what was read."""
        for path in self.folder.glob("completions-*.jsonl"):
            path.unlink(missing_ok=True)
        self.records = {}


def keys(
    kind: str, backend: Backend, samples: Iterable[Sample], seed: int | None = None
) -> list[str]:
    """A key per sample: the model and its files, template, settings and the sample's text.

    `kind` is "reply" for replies and "fit" for scores of true replies: stored records have these
    names, so they stay. `seed` is that of replies that were drawn.
    """
    model = dataclasses.asdict(backend.model)
    # The commit is left out: what it changed of the model is in `identity`.
    made_by = [
        kind,
        {name: value for name, value in model.items() if not name.endswith("revision")},
        backend.identity,
        backend.chat_format,
        backend.generation | ({} if seed is None else {"seed": seed}),
    ]
    return [
        hashlib.sha256(
            json.dumps([*made_by, list(sample.messages), sample.target], sort_keys=True).encode()
        ).hexdigest()[:32]
        for sample in samples
    ]
