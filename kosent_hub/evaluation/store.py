"""What a run has got so far, in a file that is only ever appended to, so that no work is lost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.backends import Backend
from kosent_hub.evaluation.samples import Sample


class Completions:
    """The records of one output folder, found again by what they were made from.

    Every process appends to a file of its own and reads those of all. Records in the folders
    `beside` count too, but are not looked for again.
    """

    def __init__(self, folder: Path, rank: int = 0, beside: Iterable[Path] = ()) -> None:
        self.folder, self.rank = folder, rank
        self.found: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for other in beside:
            self._take(other)
        self.read()

    def read(self) -> None:
        """Take up what all processes have written."""
        self._take(self.folder)

    def _take(self, folder: Path) -> None:
        for path in sorted(folder.glob("completions-*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # the line that a killed run was writing
                    continue
                self.found[record.pop("key")] = record

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Append one record."""
        self.found[key] = record | {"rank": self.rank}
        line = json.dumps({"key": key, **self.found[key]}, ensure_ascii=False)
        with (self.folder / f"completions-{self.rank}.jsonl").open("ab") as file:
            # The line break comes first: a line cut short by a kill must not swallow this one.
            file.write(f"\n{line}".encode())

    def forget(self) -> None:
        """Start over: remove what all processes have written."""
        for path in self.folder.glob("completions-*.jsonl"):
            path.unlink(missing_ok=True)
        self.found = {}


def keys(kind: str, backend: Backend, samples: Iterable[Sample]) -> list[str]:
    """A key per sample: the model and its files, template, settings and the sample's text."""
    model = dataclasses.asdict(backend.model)
    # Of its commit counts what that changed: see `identity`.
    made_by = [
        kind,
        {name: value for name, value in model.items() if not name.endswith("revision")},
        backend.identity,
        backend.template_sha256,
        backend.generation,
    ]
    return [
        hashlib.sha256(
            json.dumps([*made_by, list(sample.messages), sample.target], sort_keys=True).encode()
        ).hexdigest()[:32]
        for sample in samples
    ]
