"""Prompts -> token ids by the chat template, and the token ids on which a reply ends."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dataset_builder.options import SYSTEM_PROMPT
from kosent_hub.models.tokenizer import Messages, render, turn_end
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLE = [
    {"role": "system", "content": SYSTEM_PROMPT},
    {"role": "user", "content": "오늘은 조금 지친 하루였어."},
]


def encode(tokenizer: PreTrainedTokenizerBase, prompts: Iterable[Messages]) -> Iterator[array]:
    """The token ids of each prompt; special tokens are the template's, none the tokenizer's.

    Raises KoSentError for a template that writes the beginning-of-text token twice.
    """
    bos = tokenizer.bos_token_id
    for messages in prompts:
        text = render(tokenizer, messages, reply=True)
        ids = array("i", tokenizer(text, add_special_tokens=False)["input_ids"])
        if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos != tokenizer.eos_token_id:
            raise KoSentError(
                tokenizer.name_or_path,
                "its chat template begins with the beginning-of-text token twice",
                "give it a corrected one with --chat-template FILE",
            )
        yield ids


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> frozenset[int]:
    """The ids of tokens that end a reply: the model's end tokens, the template's end of turn."""
    declared = getattr(generation_config, "eos_token_id", None)
    listed: list[Any] = declared if isinstance(declared, list) else [declared]
    ids: set[Any] = {token for token in listed if isinstance(token, int)}
    end = turn_end(tokenizer)
    if end is not None:
        ids.add(tokenizer.convert_tokens_to_ids(end))
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    return frozenset(ids)
