"""What training and evaluation must agree on: which commit, which tokenizer, which template."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kosent_hub.models import template_limits, untrusted
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Llama 3.1's and 3.2's templates print today's date unless they are given one. This is the
# default of 3.1's own template, so a prompt is the same text whatever day it is made.
DATE = "26 Jul 2024"

Messages = Sequence[dict[str, Any]]

# Padding tokens that models reserve without declaring them, in the order they are looked for.
_RESERVED_PADS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<pad>", "[PAD]")


def load_tokenizer(
    model_id: str, revision: str | None = None, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The model's own tokenizer with its chat template untouched and a padding token of its own.

    The padding token is never the end-of-turn token unless the model has no other: a padded
    end-of-turn would be hidden from the loss, and the model would never learn to stop.
    """
    from transformers import AutoTokenizer

    with untrusted.explained(model_id):
        tokenizer = AutoTokenizer.from_pretrained(
            model_id, revision=revision, trust_remote_code=trust_remote_code
        )
    if not tokenizer.chat_template:
        raise KoSentError(
            model_id,
            "its tokenizer has no chat template",
            "use the Instruct (or chat) version of this model",
        )
    template_limits.check_template(template_text(tokenizer), model_id)
    tokenizer.pad_token = _pad_token(tokenizer)
    return tokenizer


def _pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token to pad with: declared, reserved, or unused; the end of turn as a last resort."""
    end_of_turn = turn_end(tokenizer)
    vocabulary = tokenizer.get_vocab()
    candidates = [tokenizer.pad_token, *_RESERVED_PADS, "<|endoftext|>", tokenizer.unk_token]
    for token in candidates:
        if token in vocabulary and token not in (tokenizer.eos_token, end_of_turn):
            return token
    return tokenizer.pad_token or tokenizer.eos_token


def turn_end(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The text of the token that follows an assistant's reply, None if the template writes none."""
    reply = "a reply"
    turn = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": reply}]
    _, _, after = render(tokenizer, turn).rpartition(reply)
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    ends = (token for token in special if after.lstrip().startswith(token))
    return max(ends, key=len, default=None)


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    """The dialogue as the model's own chat template writes it, dates and the like pinned.

    Raises KoSentError when the template refuses it, as some refuse a system message.
    """
    from jinja2 import TemplateError

    where = tokenizer.name_or_path
    try:
        with template_limits.bounded(where):
            text = tokenizer.apply_chat_template(
                list(messages), tokenize=False, **render_kwargs(tokenizer)
            )
        return template_limits.check_text(str(text), where)
    except TemplateError as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise KoSentError(
            where,
            f"its chat template refuses turns by {roles} ({error})",
            "use another model, or build the dataset without what it refuses",
        ) from None


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template in use; of several named ones, the default."""
    return tokenizer.get_chat_template()


def template_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 of the chat template's UTF-8 bytes."""
    return hashlib.sha256(template_text(tokenizer).encode("utf-8")).hexdigest()


def render_kwargs(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What every rendering passes to the template, so that training and evaluation agree."""
    template = template_text(tokenizer)
    pinned: dict[str, Any] = {}
    if "date_string" in template:
        pinned["date_string"] = DATE
    if "enable_thinking" in template:
        # The corpus has replies, no reasoning: both sides leave the thinking block empty.
        pinned["enable_thinking"] = False
    return pinned
