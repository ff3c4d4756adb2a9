"""The records of one model, read from a run folder or a Hub repo: the only input of its card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model_card.conversations import CONVERSATIONS_PATH, Conversation
from model_card.conversations import loads as conversations_from
from model_card.licenses import known_license
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.records import (
    BENCH_JUDGEMENTS_FOLDER,
    EVAL_FOLDER,
    JUDGEMENTS_FOLDER,
    LOG_HISTORY_PATH,
    RUN_PATH,
    BenchJudgement,
    Judgements,
    Record,
    Results,
    Run,
    loads,
)
from model_card.records import read as read_record

ADAPTER, QUANTIZED, FINETUNE, MERGE = "adapter", "quantized", "finetune", "merge"


@dataclass(frozen=True)
class Facts:
    """Everything known about one model.

    `relation` is what the files are to the base model, in the Hub's words: `adapter`, `merge` (of a
    LoRA adapter into its base), `quantized` (GGUF files too) or `finetune`. `license` is the base
    model's, as a Hub licence id, or None if nobody said.
    """

    run: Run | None = None
    results: list[Results] = field(default_factory=list)
    log_history: list[dict[str, Any]] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    judgements: list[Judgements] = field(default_factory=list)
    bench_judgements: list[BenchJudgement] = field(default_factory=list)
    relation: str = ADAPTER
    paths: frozenset[str] = frozenset()
    license: str | None = None

    @property
    def recorded(self) -> bool:
        """Whether there is a record to make a card from: a run or an evaluation."""
        return self.run is not None or bool(self.results)

    def require(self, where: object, remedy: str) -> Facts:
        """These facts; raises KoSentError if `where` has no record to make a card from."""
        if not self.recorded:
            raise KoSentError(where, f"neither {RUN_PATH} nor {EVAL_FOLDER}/*.json in it", remedy)
        return self


def gather(paths: Iterable[str], read: Callable[[str], bytes | None], where: str) -> Facts:
    """The facts in the folder or repo `where`, which has `paths`; `read` gives a path's content.

    Raises KoSentError naming the record that cannot be read.
    """
    known = frozenset(paths)

    def text(path: str) -> str:
        return decode_text(read(path) or b"", f"{where}/{path}", "")

    run = loads(Run, text(RUN_PATH), f"{where}/{RUN_PATH}") if RUN_PATH in known else None

    def records(kind: type[Record], folder: str) -> list[Record]:
        found = sorted(p for p in known if p.startswith(f"{folder}/") and p.endswith(".json"))
        return [loads(kind, text(path), f"{where}/{path}") for path in found]

    results = records(Results, EVAL_FOLDER)
    # KoSent-Bench, which anybody can repeat, comes first. Stable: the default settings come before
    # others, and these in the order of their files.
    results.sort(
        key=lambda r: (not r.dataset.is_bench, r.dataset.id, r.dataset.split, bool(r.settings))
    )
    log = LOG_HISTORY_PATH
    talk = CONVERSATIONS_PATH
    return Facts(
        run=run,
        results=results,
        log_history=_log_history(text(log), f"{where}/{log}") if log in known else [],
        conversations=conversations_from(text(talk), f"{where}/{talk}") if talk in known else [],
        judgements=records(Judgements, JUDGEMENTS_FOLDER),
        bench_judgements=records(BenchJudgement, BENCH_JUDGEMENTS_FOLDER),
        relation=relation(known, text("config.json") if "config.json" in known else "", run),
        paths=known,
        license=known_license(run.base_model.id) if run else None,
    )


def gather_folder(folder: Path) -> Facts:
    """The facts in a run folder; `results.json` at its top counts as an evaluation too."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    facts = gather(paths, lambda path: (folder / path).read_bytes(), str(folder))
    top = folder / "results.json"
    if facts.results or not top.is_file():
        return facts
    return replace(facts, results=[read_record(Results, top)])


def relation(paths: frozenset[str], config: str, run: Run | None) -> str:
    """What the files are to the base model; without any weights, what the run was to make."""
    if "adapter_config.json" in paths:
        return ADAPTER
    if any(path.endswith(".gguf") for path in paths) or '"quantization_config"' in config:
        return QUANTIZED
    if any(path.endswith((".safetensors", ".bin")) for path in paths):
        parameters = run.parameters if run else {}
        lora = parameters.get("trainable", 0) < parameters.get("total", 0)
        return MERGE if lora else FINETUNE
    if run and run.parameters.get("trainable") == run.parameters.get("total"):
        return FINETUNE
    return ADAPTER


def _log_history(text: str, where: str) -> list[dict[str, Any]]:
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise KoSentError(f"{where}, line {number}", f"not JSON ({error})") from None
        if not isinstance(entry, dict):
            raise KoSentError(f"{where}, line {number}", "expected an object")
        entries.append(entry)
    return entries
