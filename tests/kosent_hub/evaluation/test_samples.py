"""Dataset -> samples."""

import pytest

from kosent_hub.evaluation.samples import load_samples
from kosent_hub.models.chat_dataset import system_prompt
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.dialogues import SYSTEM, write_dataset


def test_every_reply_is_a_sample_with_the_true_history_before_it(tmp_path):
    samples, record = load_samples(str(write_dataset(tmp_path / "chat", count=3)), "test")
    assert [sample.id for sample in samples] == ["d0#1", "d1#1", "d1#2", "d2#1", "d2#2", "d2#3"]
    second = samples[2]
    assert [m["role"] for m in second.messages] == ["system", "user", "assistant", "user"]
    assert second.messages[2]["content"] == samples[1].target == "답 1.0"
    assert (second.user, second.target, second.emotion) == ("말 1.1", "답 1.1", "슬픔")
    assert (record.id, record.split, record.local) == ("chat", "test", True)
    assert (record.dialogues, record.samples) == (3, 6)
    assert system_prompt([sample.messages for sample in samples]) == SYSTEM


def test_limit_counts_samples_from_the_start(tmp_path):
    samples, record = load_samples(str(write_dataset(tmp_path / "chat", 3)), "test", limit=4)
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
