"""Dialogues -> token ids and labels: the loss is on the assistant's replies and their end tokens.

The text is always written by the model's own chat template. The learned spans come from
`generation` marks (the model's, or those of a variant in chat_templates/ that writes the same
text) or, for a template without marks, from the positions of the replies in the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from kosent_hub.models import template_limits
from kosent_hub.models.tokenizer import Messages, render, render_kwargs, template_text, turn_end
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
Span = tuple[int, int]
Sample = dict[str, list[int]]

# Private-use characters: no corpus has them, no template looks for them.
_STAND_IN = "\ue000{}\ue001"

_PROBES: list[Messages] = [
    [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I am sad."},
        {"role": "assistant", "content": "I am with you."},
    ],
    [
        {"role": "user", "content": "하나"},
        {"role": "assistant", "content": "둘"},
        {"role": "user", "content": " 셋 "},
        {"role": "assistant", "content": "넷 "},
    ],
]


@dataclass(frozen=True)
class Counts:
    """Counts of a split: dialogues, tokens, tokens with a loss, and what `max_length` cut off."""

    samples: int
    tokens: int
    learned: int
    longest: int
    shortened: int
    dropped: int


@dataclass(frozen=True)
class Encoder:
    """The model's template and tokenizer as a function from dialogues to ids and labels.

    `marked` is a template with `generation` marks that renders the same text as the model's own,
    None where the replies have to be looked for.
    """

    tokenizer: PreTrainedTokenizerBase
    end: str
    marked: str | None

    def fit(
        self, dialogues: Iterable[Messages], max_length: int | None
    ) -> tuple[list[Sample], Counts]:
        """The dialogues' samples, cut after the last reply within `max_length`, and the counts.

        A dialogue whose first reply does not fit is dropped: half a reply would teach the model to
        break off.
        """
        end_id = self.tokenizer.convert_tokens_to_ids(self.end)
        kept, shortened, dropped, longest = [], 0, 0, 0
        for sample in self.encode(dialogues):
            length = len(sample["input_ids"])
            longest = max(longest, length)
            if max_length is not None and length > max_length:
                ends = [
                    i for i, label in enumerate(sample["labels"][:max_length]) if label == end_id
                ]
                shortened, dropped = shortened + bool(ends), dropped + (not ends)
                sample = {key: ids[: ends[-1] + 1 if ends else 0] for key, ids in sample.items()}
            if sample["input_ids"]:
                kept.append(sample)
        tokens = sum(len(sample["labels"]) for sample in kept)
        learned = sum(label != IGNORED for sample in kept for label in sample["labels"])
        return kept, Counts(len(kept), tokens, learned, longest, shortened, dropped)

    def encode(self, dialogues: Iterable[Messages]) -> Iterator[Sample]:
        """`input_ids` and `labels` of each dialogue, in order; labels are -100 or the id itself.

        Raises KoSentError naming the dialogue whose replies the template changes or does not end.
        """
        end_id = self.tokenizer.convert_tokens_to_ids(self.end)
        for number, messages in enumerate(dialogues, start=1):
            text, spans = self.render(messages, number)
            encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids, labels = encoded["input_ids"], [IGNORED] * len(encoded["input_ids"])
            starts = [start for start, _ in encoded["offset_mapping"]]
            for begin, stop in spans:
                learned = [i for i, at in enumerate(starts) if begin <= at < stop]
                if not learned or ids[learned[-1]] != end_id:
                    raise KoSentError(
                        f"dialogue {number}",
                        f"the loss would miss the end-of-turn token {self.end!r}",
                        "this model's tokenizer and chat template do not fit together",
                    )
                for i in learned:
                    labels[i] = ids[i]
            yield {"input_ids": ids, "labels": labels}

    def render(self, messages: Messages, number: int = 1) -> tuple[str, list[Span]]:
        """The text of a dialogue, and the span (begin, stop) of each reply with its end of turn."""
        text = render(self.tokenizer, messages)
        if self.marked is None:
            spans = self._look_for_replies(text, messages, number)
        else:
            marked_text, spans = _marked_text(self.tokenizer, self.marked, messages)
            if marked_text != text:
                raise KoSentError(
                    f"dialogue {number}",
                    "the training template writes other text than the model's own",
                    "check that its messages are plain system, user and assistant turns",
                )
        turns = sum(message["role"] == "assistant" for message in messages)
        if len(spans) != turns or not turns:
            raise KoSentError(
                f"dialogue {number}",
                f"{turns} assistant turns, {len(spans)} found in the text",
                "every dialogue needs one at least, and none may be empty",
            )
        return text, spans

    def _look_for_replies(self, text: str, messages: Messages, number: int) -> list[Span]:
        """The spans of the replies, found by rendering the dialogue with stand-ins for them."""
        replies = [m["content"] for m in messages if m["role"] == "assistant"]
        stand_ins = [_STAND_IN.format(i) for i in range(len(replies))]
        names = iter(stand_ins)
        replaced = [
            {**m, "content": next(names)} if m["role"] == "assistant" else m for m in messages
        ]
        rest, spans, begin = render(self.tokenizer, replaced), [], 0
        for stand_in, reply in zip(stand_ins, replies, strict=True):
            before, found, rest = rest.partition(stand_in)
            begin += len(before)
            # Some templates strip what they print.
            written = next((r for r in (reply, reply.strip()) if text.startswith(r, begin)), None)
            if not found or not written or not rest.lstrip().startswith(self.end):
                break
            space = len(rest) - len(rest.lstrip())
            stop = begin + len(written) + space + len(self.end)
            spans.append((begin, stop))
            begin += len(written)
        if len(spans) == len(replies) and text[begin:] == rest:
            return spans
        raise KoSentError(
            f"dialogue {number}",
            "this model's chat template changes the replies it prints, so what is learned "
            "cannot be told",
            "add its training variant to kosent_hub/chat_templates/",
        )


def encoder(tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """The encoder for this tokenizer: its own marks, a variant's, or none.

    Raises KoSentError when the template ends no turn: such a model would never learn to stop.
    """
    end = turn_end(tokenizer)
    if end is None:
        raise KoSentError(
            tokenizer.name_or_path,
            "its chat template writes no token after a reply, so the model would never "
            "learn to stop",
            "use the Instruct (or chat) version of this model",
        )
    folder = resources.files("kosent_hub") / "chat_templates"
    variants = [file.read_text(encoding="utf-8") for file in sorted(folder.iterdir(), key=str)]
    for template in (template_text(tokenizer), *variants):
        if "endgeneration" in template and _same_text(tokenizer, template, end):
            return Encoder(tokenizer, end, template)
    return Encoder(tokenizer, end, None)


def _same_text(tokenizer: PreTrainedTokenizerBase, template: str, end: str) -> bool:
    """Whether a marked template writes the model's own text and marks each reply up to its end."""
    for probe in _PROBES:
        try:
            text = render(tokenizer, probe)
        except KoSentError:
            continue  # a template without a system role; the dialogues may need none
        marked, spans = _marked_text(tokenizer, template, probe)
        if marked != text or not spans:
            return False
        if not all(text[begin:stop].endswith(end) for begin, stop in spans):
            return False
    return True


def _marked_text(
    tokenizer: PreTrainedTokenizerBase, template: str, messages: Messages
) -> tuple[str, list[Span]]:
    """The text a template with `generation` marks writes, and the marked spans."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    variables = {**tokenizer.special_tokens_map, **render_kwargs(tokenizer)}
    try:
        with template_limits.bounded(tokenizer.name_or_path):
            rendered: Any = render_jinja_template(
                conversations=[list(messages)],
                chat_template=template,
                return_assistant_tokens_mask=True,
                **variables,
            )
    except TemplateError:
        return "", []
    (text,), (spans,) = rendered
    return text, [(begin, stop) for begin, stop in spans]


def show(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> str:
    """The sample's text, its learned spans between `[[` and `]]`."""
    parts: list[tuple[bool, list[int]]] = []
    for token, label in zip(sample["input_ids"], sample["labels"], strict=True):
        learned = label != IGNORED
        if not parts or parts[-1][0] != learned:
            parts.append((learned, []))
        parts[-1][1].append(token)
    texts = [(learned, tokenizer.decode(ids)) for learned, ids in parts]
    return "".join(f"[[{text}]]" if learned else str(text) for learned, text in texts)


def digest(samples: Iterable[Sample]) -> str:
    """Hex SHA-256 of the samples' ids and labels, for comparing data."""
    seen = hashlib.sha256()
    for sample in samples:
        seen.update(str((sample["input_ids"], sample["labels"])).encode())
    return seen.hexdigest()
