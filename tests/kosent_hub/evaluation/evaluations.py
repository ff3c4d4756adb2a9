"""Output folders of kosent-eval, made without a model: a record and the samples' columns."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model_card.records import (
    EvaluatedDataset,
    EvaluatedModel,
    Metric,
    Protocol,
    Results,
    Speed,
    dumps,
)

TARGETS = [
    "많이 속상하셨겠어요.",
    "친구에게 서운한 마음이 크셨겠어요.",
    "취직하신 것 정말 축하드려요!",
    "잠이 오지 않아 힘드시겠어요.",
]


def targets(count: int) -> list[str]:
    """`count` true replies, no two the same."""
    return [f"{TARGETS[i % 4]} 비밀{i}번 이야기예요." for i in range(count)]


def results(name: str, samples: int, **changes) -> Results:
    """The record of a model with that id; `changes` replace its fields."""
    bits = Metric(2.0, False, "bits per byte", "sum/sum", n=samples)
    cosine = Metric(0.5, True, "cosine", "encoder@1", n=samples)
    words = "".join(targets(samples)).encode()
    return replace(
        Results(
            model=EvaluatedModel(name, tokenizer={"sha256": "one"}),
            dataset=EvaluatedDataset(
                "chat", "test", samples // 2, samples, sha256=hashlib.sha256(words).hexdigest()
            ),
            protocol=Protocol(
                system_prompt="비밀 지시",
                template_sha256="0",
                generation={"do_sample": False, "max_new_tokens": 8, "stop": [name]},
                seed=0,
            ),
            metrics={
                "cosine_similarity": cosine,
                "perplexity": Metric(7.5, False, "per token", "sum/sum", n=9 * samples),
                "bits_per_byte": bits,
                "safety_crisis_referral": Metric(0.25, True, "share", "44", [0.1, 0.4], 44),
            },
            speed=Speed("transformers", 1.0, 1.0, 1.0),
            versions={},
            created="2026-01-01T00:00:00+00:00",
            settings={"max_new_tokens": 8},
            primary="chrf",
            task_version="2",
        ),
        **changes,
    )


def write(folder: Path, record: Results, replies: list[str], **columns) -> Path:
    """An output folder with that record and those replies, two samples a dialogue."""
    count = len(replies)
    known = {
        "sample_id": [f"d{i // 2}#{1 + i % 2}" for i in range(count)],
        "row": [i // 2 for i in range(count)],
        "target": targets(count),
        "prediction": replies,
        "stop": ["stop"] * count,
        "cosine_similarity": [0.25 + 0.5 * (i % 2) for i in range(count)],
        "bits_per_byte": [1.5 + i % 2 for i in range(count)],
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(dumps(record), encoding="utf-8")
    pq.write_table(pa.table(known | columns), folder / "samples.parquet")
    return folder
