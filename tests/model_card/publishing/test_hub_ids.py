"""What reads like a Hub id."""

from __future__ import annotations

import pytest

from model_card.publishing.hub_ids import is_hub_id


@pytest.mark.parametrize("text", ["a/b", "alice/tiny-KoSent_1.5", "0xA/_b", "al.ice/b-b"])
def test_an_owner_and_a_name_are_an_id(text: str) -> None:
    assert is_hub_id(text) and is_hub_id(text, owner_optional=True)


def test_a_name_is_one_where_the_owner_is_optional() -> None:
    assert is_hub_id("gpt2", owner_optional=True) and not is_hub_id("gpt2")


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "a/", "/b", "a/b/c", ".", "..", "../b", "a/..", "./b", "-a/b", "a/b-", "a/.b"),
        *("앨리스/모델", "a b/c", "a/b\n", "https://huggingface.co/a/b", "C:\\a", "~/b"),
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert not is_hub_id(text) and not is_hub_id(text, owner_optional=True)
