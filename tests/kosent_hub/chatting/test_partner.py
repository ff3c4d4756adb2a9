"""With temperature 0 a chat replies what kosent-eval has the model reply."""

import json
import shutil

import pytest

from tests.kosent_hub.adapters import write_adapter
from tests.kosent_hub.conftest import SYSTEM

SAID = ["오늘 시험을 망쳤어.", "안녕", "  비가 와서 <b>우울해</b>", "잠이 안 와."]


@pytest.fixture
def dataset(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": said.strip()},
                {"role": "assistant", "content": "네."},
            ]
        }
        for said in SAID
    ]
    path = tmp_path / "dataset" / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return tmp_path / "dataset"


def replies_of(model, dataset, run, env, folder):
    """The first replies of both commands: kosent-eval's, kosent-chat's."""
    how = ["--dtype", "float32", "--max-new-tokens", "24"]
    command = ["kosent-eval", "--model", model, "--dataset", dataset, "--output", folder / "out"]
    command += ["--embedder", "none", "--no-safety", *how]
    done = run([*map(str, command)], env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = (folder / "out" / "completions-0.jsonl").read_text("utf-8").split("\n")
    texts = {
        line["id"]: line["text"] for line in map(json.loads, filter(None, lines)) if "text" in line
    }
    evaluated = [texts[f"{row}#1"] for row in range(len(SAID))]
    saying = "\n".join(f"{said}\n/save {folder}/saved.jsonl\n/reset" for said in SAID)
    command = ["kosent-chat", model, "--terminal", "--temperature", "0", *how]
    done = run([*map(str, command)], env=env, cwd=folder, input=saying)
    assert done.returncode == 0, done.stderr
    saved = [json.loads(line) for line in (folder / "saved.jsonl").read_text("utf-8").splitlines()]
    talked = [line["messages"][2:] for line in saved]
    return evaluated, [messages[0]["content"] if messages else "" for messages in talked]


@pytest.mark.parametrize(
    "family",
    [
        "gemma3",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "cohere")),
    ],
)
def test_the_first_reply_is_that_of_the_evaluation(
    family, families, dataset, run, nobody, tmp_path
):
    evaluated, talked = replies_of(families / family, dataset, run, nobody, tmp_path)
    assert talked == evaluated
    assert len(set(talked)) > 1 and all(talked)


@pytest.mark.slow
def test_an_adapter_replies_as_it_is_evaluated(tiny_llama, dataset, run, nobody, tmp_path):
    shutil.copytree(tiny_llama, tmp_path / "base")
    write_adapter(tmp_path / "base", tmp_path / "adapter", std=0.5)
    evaluated, talked = replies_of(tmp_path / "adapter", dataset, run, nobody, tmp_path)
    assert talked == evaluated
    assert len(set(talked)) > 1 and all(talked)
