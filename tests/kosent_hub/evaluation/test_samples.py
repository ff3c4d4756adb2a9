"""Dataset -> samples."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosent_hub.evaluation.samples import load_samples
from kosent_hub.models.data.chat_dataset import system_prompt
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.dialogues import SYSTEM, write_dataset


def test_every_reply_is_a_sample_with_the_true_history_before_it(tmp_path):
    samples, record, _ = load_samples(str(write_dataset(tmp_path / "chat", count=3)), "test")
    assert [sample.id for sample in samples] == ["d0#1", "d1#1", "d1#2", "d2#1", "d2#2", "d2#3"]
    second = samples[2]
    assert [m["role"] for m in second.messages] == ["system", "user", "assistant", "user"]
    assert second.messages[2]["content"] == samples[1].target == "답 1.0"
    assert (second.user, second.target, second.emotion) == ("말 1.1", "답 1.1", "슬픔")
    assert (record.id, record.split, record.local) == ("chat", "test", True)
    assert (record.dialogues, record.samples) == (3, 6)
    assert system_prompt([sample.messages for sample in samples]) == SYSTEM


def test_limit_counts_samples_from_the_start(tmp_path):
    samples, record, _ = load_samples(str(write_dataset(tmp_path / "chat", 3)), "test", limit=4)
    assert [sample.id for sample in samples] == ["d0#1", "d1#1", "d1#2", "d2#1"]
    assert (record.dialogues, record.samples) == (3, 4)


def test_what_cannot_be_evaluated_is_refused_in_one_line(tmp_path):
    folder = write_dataset(tmp_path / "chat", 1)
    with pytest.raises(KoSentError, match="no split 'validation'; it has test"):
        load_samples(str(folder), "validation")
    with pytest.raises(KoSentError, match="no column `messages`"):
        load_samples(str(write_dataset(tmp_path / "other", 1, column="text")), "test")
    with pytest.raises(KoSentError, match="no such folder, and not a Hub id"):
        load_samples("no/such/data", "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KoSentError, match="empty"):
        load_samples(str(tmp_path / "empty"), "test")


@pytest.fixture
def on_the_hub(hub, tmp_path):
    """alice/chat: a configuration of three splits, and one, `short`, of the test split."""
    from tests.kosent_hub.conftest import write_dataset as write_splits

    data = write_splits(tmp_path / "made")
    card = (
        "---\nconfigs:\n- config_name: whole\n  default: true\n  data_files:\n"
        "  - {split: train, path: data/train-*}\n  - {split: validation, path: data/validation-*}\n"
        "  - {split: test, path: data/test-*}\n- config_name: short\n  data_files:\n"
        "  - {split: test, path: data/test-*}\n---\n"
    )
    files = {str(path.relative_to(data)): path for path in data.rglob("*.parquet")}
    hub.create("alice/chat", repo_type="dataset", files={"README.md": card.encode(), **files})
    return hub


def test_a_split_that_is_not_there_is_missed_before_anything_is_downloaded(
    run, on_the_hub, tiny_llama, tmp_path
):
    command = ["kosent-eval", "--model", tiny_llama, "--dataset", "alice/chat", "--split", "dev"]
    done = run(command, env=on_the_hub.env(), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "kosent-eval: alice/chat: no split 'dev'; it has train, validation, test: name one with "
        "--split"
    )
    assert not [entry for entry in on_the_hub.journal if "parquet" in entry.path]


READ = """
import json, sys
from kosent_hub.models.data.chat_dataset import read_splits
found = read_splits(sys.argv[1], "test", "--split", optional=["validation", "dev"],
                    **json.loads(sys.argv[2]))
print(json.dumps({name: len(list(rows)) for name, rows in found.items()}))
"""


def test_the_splits_asked_for_are_read_wherever_they_are(run, on_the_hub, tmp_path):
    first = on_the_hub.head("alice/chat", "dataset")
    on_the_hub.land("alice/chat", {"data/test-00000-of-00001.parquet": b"bad"}, "dataset")
    for dataset in ("alice/chat", str(tmp_path / "made")):
        revision = first if dataset == "alice/chat" else None
        for streaming in (False, True):
            given = {"revision": revision, "streaming": streaming}
            assert read(run, on_the_hub, dataset, given) == {"test": 3, "validation": 3}
    short = {"config": "short", "revision": first}
    assert read(run, on_the_hub, "alice/chat", short) == {"test": 3}


def read(run, hub, dataset, given):
    script = [sys.executable, "-c", READ, dataset, json.dumps(given)]
    done = run(script, env=hub.env(), script=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_system_message_in_parts_is_a_system_message_and_bad_dialogues_have_none():
    def talk(content):
        return [{"role": "system", "content": content}, {"role": "user", "content": "응"}]

    parts = [{"type": "text", "text": "당신은"}, {"type": "text", "text": "챗봇입니다."}]
    assert system_prompt([talk(parts), talk("당신은 챗봇입니다."), talk(7)]) == "당신은 챗봇입니다."
    assert system_prompt([talk(parts), talk("다른 말")]) is None
    assert system_prompt([talk(None)]) is None


def test_large_lists_as_polars_writes_them_are_counted_too(tmp_path):
    folder = write_dataset(tmp_path / "chat", 3)
    path = folder / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    message = table.schema.field("messages").type.value_type
    large = table.column("messages").cast(pa.large_list(message))
    pq.write_table(table.set_column(1, "messages", large), path)
    _, record, _ = load_samples(str(folder), "test", limit=2)
    assert (record.samples, record.all_samples) == (2, 6)
