"""The tokenizer and its chat template, the same for training and evaluation."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kosent_hub.models import template_limits
from kosent_hub.models.chat_format import EXAMPLE, ChatFormat, chat_format
from kosent_hub.models.machine import distributed
from kosent_hub.models.repos import untrusted
from kosent_hub.models.weights.gguf_file import opened, split_as_written
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

# Padding tokens that models reserve without declaring them, the preferred one first.
_RESERVED_PADS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<pad>", "[PAD]")


def load_tokenizer(
    model_id: str,
    revision: str | None = None,
    *,
    ids: int | None = None,
    chat_template: str | None = None,
    template_flag: str = "--chat-template",
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """The model's tokenizer; the text `chat_template`, if given, replaces its own template.

    The padding token is never the end-of-turn token unless the model has no other: a padded
    end-of-turn would be hidden from the loss, and the model would never learn to stop. It is below
    `ids`, the number of the model's embeddings. Raises KoSentError without such a token, without a
    template, or for one that cannot be used; `template_flag` is the one that gives another.
    """
    from transformers import AutoTokenizer

    with untrusted.explained(model_id, trust_remote_code):
        with opened(model_id, revision) as (place, which, gguf), _uncollected():
            tokenizer = AutoTokenizer.from_pretrained(
                place, **which, trust_remote_code=trust_remote_code
            )
        if gguf is not None:
            split_as_written(tokenizer, gguf)
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        try:
            template_limits.check_template(_template(tokenizer, model_id), model_id)
            form = chat_format(tokenizer)
        except KoSentError as error:
            if chat_template is not None:
                raise
            raise KoSentError(
                None, f"{error}, or give it a template with {template_flag} FILE"
            ) from None
        tokenizer.pad_token = _pad_token(form, model_id, ids)
        bos = tokenizer.bos_token_id
        if bos is not None and form.prompt(EXAMPLE[1:])[:2] == [bos, bos]:
            _warn(
                f"{model_id}: its chat template writes the beginning-of-text token twice, in "
                "training and in evaluation alike"
            )
    return tokenizer


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which goes through a tokenizer's merges again and again while
    they are read, which is a third of the time for Gemma's 500,000."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What tells a tokenizer from another: equal facts give equal token ids.

    `sha256` is that of its model, merges, normaliser and added tokens as the tokenizers library
    writes them, or of the vocabulary where it is not one of that library's.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        written = json.dumps({"vocabulary": tokenizer.get_vocab()}, sort_keys=True)
    else:
        written = _written(backend)
    return {
        "class": type(tokenizer).__name__,
        "vocabulary": len(tokenizer),
        "sha256": hashlib.sha256(written.encode()).hexdigest(),
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
    }


def _written(backend: Tokenizer) -> str:
    """The tokenizer as its library writes it, without what the last call asked for, which is no
    part of it: padding and truncation."""
    padding, truncation = backend.padding, backend.truncation
    backend.no_padding()
    backend.no_truncation()
    try:
        return backend.to_str()
    finally:
        if padding is not None:
            backend.enable_padding(**padding)
        if truncation is not None:
            backend.enable_truncation(**truncation)


def _template(tokenizer: PreTrainedTokenizerBase, model_id: str) -> str:
    """The chat template in use; of several named ones, the default."""
    found = tokenizer.chat_template
    if not found:
        raise KoSentError(
            model_id,
            "its tokenizer has no chat template",
            "use the Instruct (or chat) version of this model",
        )
    if isinstance(found, dict) and "default" not in found:
        raise KoSentError(
            model_id,
            f"its chat templates are named {', '.join(sorted(found))}, and none is the default",
            "save its tokenizer with one of them alone",
        )
    return tokenizer.get_chat_template()


def _pad_token(form: ChatFormat, model_id: str, ids: int | None) -> str:
    """The token to pad with: declared, reserved, or unused; the end of turn as a last resort."""
    tokenizer = form.tokenizer
    ends = {tokenizer.eos_token, *tokenizer.convert_ids_to_tokens(form.end_ids)}
    vocabulary = tokenizer.get_vocab()
    candidates = [tokenizer.pad_token, *_RESERVED_PADS, "<|endoftext|>", tokenizer.unk_token]
    candidates = [token for token in candidates if token not in ends]
    for token in [*candidates, tokenizer.pad_token, tokenizer.eos_token]:
        if token in vocabulary and (ids is None or vocabulary[token] < ids):
            return token
    raise KoSentError(
        model_id,
        "its tokenizer has no padding token"
        + ("" if ids is None else f" among the {ids:,} ids that the model knows"),
        "save its tokenizer with another pad_token",
    )


def _warn(line: str) -> None:
    if distributed.rank() == 0:
        print(line, file=sys.stderr)
