"""Prompts -> token ids, through the model's own chat template."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kosent_hub.models import template_limits
from kosent_hub.models.tokenizer import Messages, load_tokenizer, render_kwargs, turn_end
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLE = [
    {"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."},
    {"role": "user", "content": "오늘은 조금 지친 하루였어."},
]


def open_tokenizer(
    model_id: str,
    revision: str | None,
    chat_template: str | None,
    *,
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with the text `chat_template` as its template if one is given.

    Raises KoSentError when it has no template and none was given.
    """
    if chat_template is None:
        try:
            return load_tokenizer(model_id, revision, trust_remote_code=trust_remote_code)
        except KoSentError as error:
            raise KoSentError(
                None, f"{error}, or give it a template with --chat-template FILE"
            ) from None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        model_id, revision=revision, trust_remote_code=trust_remote_code
    )
    tokenizer.chat_template = chat_template
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    """The prompt's text, up to where the assistant's reply begins."""
    from jinja2 import TemplateError

    where = tokenizer.name_or_path
    try:
        with template_limits.bounded(where):
            text = tokenizer.apply_chat_template(
                list(messages),
                add_generation_prompt=True,
                tokenize=False,
                **render_kwargs(tokenizer),
            )
        return template_limits.check_text(str(text), where)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise KoSentError(
            where,
            f"its chat template refuses turns by {roles} ({error})",
            "give it another with --chat-template FILE",
        ) from None


def encode(tokenizer: PreTrainedTokenizerBase, prompts: Iterable[Messages]) -> Iterator[array]:
    """Each prompt as token ids.

    The template writes every special token there is to be; the tokenizer adds none of its own, so
    a beginning-of-text token can only be there once.
    """
    bos = tokenizer.bos_token_id
    for messages in prompts:
        text = render(tokenizer, messages)
        ids = array("i", tokenizer(text, add_special_tokens=False)["input_ids"])
        if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos != tokenizer.eos_token_id:
            raise KoSentError(
                tokenizer.name_or_path,
                "its chat template begins with the beginning-of-text token twice",
                "give it a mended one with --chat-template FILE",
            )
        yield ids


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> frozenset[int]:
    """Tokens that end a reply: the model's own end tokens and the template's end of turn."""
    declared = getattr(generation_config, "eos_token_id", None)
    listed: list[Any] = declared if isinstance(declared, list) else [declared]
    ids: set[Any] = {token for token in listed if isinstance(token, int)}
    end = turn_end(tokenizer)
    if end is not None:
        ids.add(tokenizer.convert_tokens_to_ids(end))
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    return frozenset(ids)
