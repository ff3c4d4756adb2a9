"""A dataset folder with small dialogues, as kosent-data lays one out."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SYSTEM = "당신은 감정을 공감해주는 챗봇입니다."
EMOTIONS = ("기쁨", "슬픔", "분노")


def write_dataset(folder: Path, count: int, column: str = "messages") -> Path:
    """`count` dialogues of one to three turns in the test split, the first one short."""
    rows = []
    for number in range(count):
        messages = [{"role": "system", "content": SYSTEM}]
        for turn in range(1 + number % 3):
            messages.append({"role": "user", "content": f"말 {number}.{turn}"})
            messages.append({"role": "assistant", "content": f"답 {number}.{turn}"})
        rows.append(
            {
                "dialogue_id": f"d{number}",
                column: messages,
                "emotion_major": EMOTIONS[number % 3],
            }
        )
    path = folder / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return folder
