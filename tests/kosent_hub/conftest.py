"""A small chat dataset and base model, laid out as a user has them: relative folders, Hub-like."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import made
from tests.kosent_hub import ten_models as ten

SYSTEM = "당신은 감정을 공감해주는 챗봇입니다."
BASE = "kosent/tiny-llama"

USER = [
    "오늘 시험을 망쳤어.",
    "친구가 약속을 잊었어. 벌써 세 번째야.",
    "드디어 취직했어!",
    "잠이 안 와.",
]
REPLY = [
    "많이 속상하셨겠어요.",
    "서운한 마음이 크셨겠어요. 친구에게 이야기해 보셨어요?",
    "축하드려요!",
]


def dialogue(number: int) -> list[dict[str, str]]:
    """A dialogue of one to three turns; no two numbers give the same."""
    messages = [{"role": "system", "content": SYSTEM}]
    for turn in range(1 + number % 3):
        said, reply = USER[(number + turn) % 4], REPLY[(number + 2 * turn) % 3]
        messages.append({"role": "user", "content": f"{said} ({number})"})
        messages.append({"role": "assistant", "content": reply})
    return messages


def write_dataset(folder: Path) -> Path:
    """A dataset folder with 20 dialogues to train on, 3 to validate, 3 to test."""
    (folder / "data").mkdir(parents=True)
    for split, numbers in (
        ("train", range(20)),
        ("validation", range(20, 23)),
        ("test", range(23, 26)),
    ):
        table = pa.table({"messages": [dialogue(n) for n in numbers]})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A folder with `dataset/` and `kosent/tiny-llama/`, to run commands in."""
    place = tmp_path_factory.mktemp("work")
    write_dataset(place / "dataset")
    shutil.copytree(tiny_llama, place / BASE)
    return place


@pytest.fixture(scope="session")
def families(tiny_llama: Path) -> Path:
    """A folder with a tiny model of each of `FAMILIES`, made once per environment."""
    script = Path(ten.__file__).read_text("utf-8")
    return made("families", script, str(tiny_llama), arguments=[tiny_llama])


@pytest.fixture(scope="module")
def nobody(worker_hub) -> dict[str, str]:
    """An environment of nobody the Hub knows, where it has nothing; what is local is enough."""
    return worker_hub.env(None) | {"OMP_NUM_THREADS": "1"}
