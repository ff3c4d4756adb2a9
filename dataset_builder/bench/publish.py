"""`push` of KoSent-Bench: its files as they are, and every sample of one reply as a row."""

from __future__ import annotations

import json
from dataclasses import asdict

import pyarrow as pa
from huggingface_hub import CommitOperationAdd, HfApi

from dataset_builder.bench.items import (
    CONDUCT,
    CRISIS,
    DIALOGUES,
    FILES,
    FOLDER,
    MULTI_TURN,
    VERSION_FILE,
    Benchmark,
    load,
)
from dataset_builder.bench.turns import turns
from dataset_builder.card import features
from model_card.publishing import front_matter, session
from model_card.publishing.commit import Head, Operation, commit
from model_card.publishing.files import decode_text

README, EVAL = "README.md", "eval.yaml"
# JSON lines like the rest: load_dataset reads all configurations of a repo in one format.
TURNS = "turns.jsonl"
SPLIT = "test"
CONFIGS = {
    "turns": [TURNS],
    "dialogues": list(DIALOGUES),
    "crisis": [CRISIS],
    "conduct": [CONDUCT],
    "multiturn": [MULTI_TURN],
}
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("item", pa.string()),
        ("part", pa.string()),
        ("kind", pa.string()),
        ("due", pa.bool_()),
        ("emotion", pa.string()),
        ("input", pa.list_(MESSAGE)),
        ("target", pa.string()),
        ("targets", pa.list_(pa.string())),
    ]
)


def push(
    repo_id: str, *, public: bool = False, create_pr: bool = False, api: HfApi | None = None
) -> str:
    """Push the benchmark of this installation; the URL of the commit, or of the pull request.

    A new repo is private, and an existing one must be, unless `public`. The datasheet becomes its
    README, whose other metadata stays.

    Raises:
        KoSentError: files that are not those of the version, or a repo that may not be written.
    """
    session.install()
    bench = load()
    files = {name: (FOLDER / name).read_bytes() for name in (*FILES, VERSION_FILE, EVAL)}
    files[TURNS] = _rows(bench)

    def build(head: Head) -> list[Operation]:
        there = head.read(README)
        before = "" if there is None else decode_text(there, f"{repo_id}/{README}")
        own = {README: _readme(before).encode()}
        return [CommitOperationAdd(path, content) for path, content in (files | own).items()]

    return commit(
        repo_id,
        build,
        message=f"KoSent-Bench {bench.version}",
        repo_type="dataset",
        private=not public,
        create_pr=create_pr,
        api=api,
    )


def _readme(before: str) -> str:
    """The datasheet, under the metadata of the README `before` with ours in it."""
    sheet = (FOLDER / README).read_text(encoding="utf-8")
    configs = [
        {
            "config_name": name,
            **({"default": True} if name == "turns" else {}),
            "data_files": [{"split": SPLIT, "path": paths}],
        }
        for name, paths in CONFIGS.items()
    ]
    ours = front_matter.read(sheet) | {
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
        "tags": ["empathetic-dialogue", "safety", "benchmark", "kosent"],
        "configs": configs,
        # Columns that begin with hundreds of nulls have no type that a reader could guess.
        "dataset_info": [{"config_name": "turns", "features": features(SCHEMA)}],
    }
    theirs, _ = front_matter.split(before)
    front, text = front_matter.split(sheet)
    return front_matter.merge((theirs or front) + text, ours)


def _rows(bench: Benchmark) -> bytes:
    """The samples of one reply, a JSON object a line."""
    rows = [asdict(turn) | {"target": turn.targets[0]} for turn in turns(bench)]
    return "".join(
        json.dumps({name: row[name] for name in SCHEMA.names}, ensure_ascii=False) + "\n"
        for row in rows
    ).encode()
