"""The tokenizer and its chat template, the same for training and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kosent_hub.models import template_limits, untrusted
from kosent_hub.models.chat_format import chat_format
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
        template_limits.check_template(_template(tokenizer, model_id), model_id)
        tokenizer.pad_token = _pad_token(tokenizer)
    return tokenizer


def _template(tokenizer: PreTrainedTokenizerBase, model_id: str) -> str:
    """The chat template in use; of several named ones, the default."""
    found = tokenizer.chat_template
    if isinstance(found, dict) and "default" not in found:
        raise KoSentError(
            model_id,
            f"it has chat templates named {', '.join(sorted(found))}, and none is the default",
            "give it one of them with --chat-template FILE",
        )
    return tokenizer.get_chat_template()


def _pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token to pad with: declared, reserved, or unused; the end of turn as a last resort."""
    ends = {tokenizer.eos_token, *tokenizer.convert_ids_to_tokens(chat_format(tokenizer).end_ids)}
    vocabulary = tokenizer.get_vocab()
    candidates = [tokenizer.pad_token, *_RESERVED_PADS, "<|endoftext|>", tokenizer.unk_token]
    for token in candidates:
        if token in vocabulary and token not in ends:
            return token
    return tokenizer.pad_token or tokenizer.eos_token
