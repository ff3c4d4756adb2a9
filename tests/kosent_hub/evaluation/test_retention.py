"""The two texts of our own on which forgetting is measured."""

import re

import pytest

from kosent_hub.evaluation.retention import LANGUAGES, paragraphs


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_is_ten_paragraphs_of_prose_in_its_language(language):
    parts = paragraphs(language)
    assert len(parts) == 10
    found = [line for lines in parts for line in lines]
    assert len(found) == len(set(found))
    assert all(len(line.encode()) <= 500 for line in found)
    assert 3000 <= sum(map(len, found)) <= 6500
    hangul = [
        len(re.findall("[가-힣]", text)) / len(re.findall(r"[^\W\d_]", text)) for text in found
    ]
    for text, share in zip(found, hangul, strict=True):
        assert text == text.strip() and "\n" not in text and text.endswith((".", "?"))
        assert share == (1 if language == "ko" else 0)
