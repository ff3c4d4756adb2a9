"""Near-duplicates between splits: planted ones, what is only alike, and a million turns."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from dataset_builder import chat
from dataset_builder.cli import main
from dataset_builder.near import near_duplicates
from tests.dataset_builder.corpora import TEST, TRAIN, rows, text, tree

SYLLABLES = [chr(0xAC00 + 28 * n) for n in range(200)]


def sentence(random_: random.Random, words: int = 9) -> str:
    return " ".join("".join(random_.choices(SYLLABLES, k=3)) for _ in range(words)) + "."


def edited(random_: random.Random, said: str) -> str:
    """The sentence as somebody would reuse it: one word changed, other spaces and marks."""
    words = said.rstrip(".").split()
    words[random_.randrange(len(words))] = "".join(random_.choices(SYLLABLES, k=3))
    return random_.choice([" ", "", "  "]).join(words) + random_.choice([".", "!!", " ㅠㅠ", "~"])


def table(pairs: list[tuple[str, str]], split: str) -> pa.Table:
    """A split of dialogues of one pair each."""
    data = {name: [None] * len(pairs) for name in chat.SCHEMA.names}
    data["dialogue_id"] = [f"{split}-{n}" for n in range(len(pairs))]
    data["messages"] = [
        [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
        for user, reply in pairs
    ]
    return pa.table(data, schema=chat.SCHEMA)


def test_planted_near_duplicates_are_found_and_half_alike_pairs_are_not() -> None:
    random_ = random.Random(3)
    train = [(sentence(random_), sentence(random_)) for _ in range(1500)]
    near = [tuple(edited(random_, said) for said in pair) for pair in train[:200]]
    half = [(user, sentence(random_)) for user, _ in train[200:400]]
    found = near_duplicates({"train": table(train, "train"), "test": table(near + half, "test")})
    ids = {int(name.split("-")[1]) for name in found["test"]["dialogue_ids"]}
    planted = set(range(200))
    assert found["test"]["pairs"] == 400
    assert len(ids & planted) / len(planted) >= 0.95
    assert len(ids & planted) / len(ids) >= 0.95


def test_stats_says_which_dialogues_are_nearly_in_train(build, tmp_path: Path, capsys) -> None:
    *told, (user, reply, *_) = TRAIN[0]
    copied = (*told, [user.replace(" ", "") + "ㅠㅠ", reply.replace("?", "..")])
    source = tree(
        tmp_path / "source",
        {
            "Training.csv": text(rows("2022", TRAIN)),
            "Validation.csv": text(rows("2022", [*TEST, copied])),
        },
    )
    built = build(source)
    capsys.readouterr()
    assert main(["stats", str(built.out)]) == 0
    said = capsys.readouterr().out
    assert "1 of the 2 pairs of user turn and reply in test are nearly in train" in said
    assert main(["stats", str(built.out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["near_duplicates"]
    assert found == {"test": {"pairs": 2, "in_train": 1, "dialogue_ids": ["test-000002"]}}


MILLION = """
import random, resource
import pyarrow as pa
from tests.dataset_builder.test_near import sentence, table
from dataset_builder.near import near_duplicates
r = random.Random(5)
train = table([(sentence(r, 5), sentence(r, 5)) for _ in range(500_000)], "train")
test = table([(sentence(r, 5), sentence(r, 5)) for _ in range(20_000)], "test")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = near_duplicates({"train": train, "test": test})
print(found["test"]["in_train"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_million_turns_take_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MILLION], capture_output=True, text=True, check=True
    )
    near, kilobytes = map(int, done.stdout.split())
    assert near == 0
    assert kilobytes < 500_000
