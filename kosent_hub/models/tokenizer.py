"""The tokenizer and its chat template, the same for training and evaluation."""

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

# Padding tokens that models reserve without declaring them, the preferred one first.
_RESERVED_PADS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<pad>", "[PAD]")


def load_tokenizer(
    model_id: str,
    revision: str | None = None,
    *,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """The model's tokenizer; the text `chat_template`, if given, replaces its own template.

    The padding token is never the end-of-turn token unless the model has no other: a padded
    end-of-turn would be hidden from the loss, and the model would never learn to stop. Raises
    KoSentError without a template, or for one that `template_limits` refuses.
    """
    from transformers import AutoTokenizer

    with untrusted.explained(model_id):
        tokenizer = AutoTokenizer.from_pretrained(
            model_id, revision=revision, trust_remote_code=trust_remote_code
        )
        if chat_template is not None:
            tokenizer.chat_template = chat_template
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


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, reply: bool = False) -> str:
    """The dialogue's text by the chat template, with the arguments of `render_kwargs`.

    With `reply`, the text is a prompt: it ends where the assistant's next reply begins. Raises
    KoSentError when the template refuses the dialogue, as some refuse a system message.
    """
    from jinja2 import TemplateError

    where = tokenizer.name_or_path
    try:
        with template_limits.bounded(where):
            text = tokenizer.apply_chat_template(
                list(messages),
                add_generation_prompt=reply,
                tokenize=False,
                **render_kwargs(tokenizer),
            )
        return template_limits.check_text(str(text), where)
    except TemplateError as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        remedy = (
            "give it another with --chat-template FILE"
            if reply
            else "use another model, or build the dataset without what it refuses"
        )
        raise KoSentError(
            where, f"its chat template refuses turns by {roles} ({error})", remedy
        ) from None


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template in use; of several named ones, the default."""
    return tokenizer.get_chat_template()


def template_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 of the chat template's UTF-8 bytes."""
    return hashlib.sha256(template_text(tokenizer).encode("utf-8")).hexdigest()


def render_kwargs(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The arguments that every rendering passes to the template, in training and evaluation."""
    template = template_text(tokenizer)
    pinned: dict[str, Any] = {}
    if "date_string" in template:
        pinned["date_string"] = DATE
    if "enable_thinking" in template:
        # The corpus has replies, no reasoning: both sides leave the thinking block empty.
        pinned["enable_thinking"] = False
    return pinned
