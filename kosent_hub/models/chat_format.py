"""The text of a dialogue, one for training and evaluation, whatever the model's chat template.

A prompt is what the template writes before a reply. The reply's completion is what the template
writes from there through the end of the turn: all that the model must write itself, and what it
learns. How a template behaves is found out by rendering it, never taken from a model's name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dataset_builder.options import SYSTEM_PROMPT
from kosent_hub.models import template_limits
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, Any]]
Sample = dict[str, list[int]]

IGNORED = -100

# The day that a template is told when it asks: the default of Llama 3.1's own template.
DATE = "2024-07-26"

# A prompt of ours, for records and probes: no corpus text.
EXAMPLE = [
    {"role": "system", "content": SYSTEM_PROMPT},
    {"role": "user", "content": "오늘은 조금 지친 하루였어."},
]

# What stands for a text while a template is looked at: private-use characters, which no corpus has
# and no template looks for.
_USER, _REPLY, _SYSTEM = "\ue000u\ue001", "\ue000a\ue001", "\ue000s\ue001"

# Variables by which templates leave thoughts out, and the value that does. Of efforts, "none" is
# for templates that know it; the others write down whatever they are given.
_SWITCHES: dict[str, Any] = {
    "enable_thinking": False,
    "thinking": False,
    "reasoning": False,
    "enable_reasoning": False,
    "skip_reasoning": True,
    "skip_thinking": True,
    "thinking_budget": 0,
    "reasoning_effort": "low",
}
_KNOWS_NONE = re.compile(r"""['"]none['"]""")

# How thoughts begin and end.
_THOUGHTS = {
    "<think>": "</think>",
    "<thought>": "</thought>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
    "◁think▷": "◁/think▷",
}
_OPEN_THOUGHT = re.compile(f"({'|'.join(map(re.escape, _THOUGHTS))})\\s*$")


class UnusableDialogue(KoSentError):
    """A dialogue that this chat format cannot write, or with a reply that cannot be learned."""

    def __init__(self, what: str) -> None:
        remedy = "correct it, or give another template with --chat-template FILE"
        super().__init__("a dialogue", what, remedy)


def plain(messages: Messages) -> list[dict[str, str]]:
    """The messages, each content a text: text parts are joined as transformers' server joins them.

    Raises UnusableDialogue for a message without a role, or with a content that is no text.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise UnusableDialogue("`messages` is no list of messages")
    found = []
    for message in messages:
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str):
            raise UnusableDialogue("a message without a role")
        content = message.get("content")
        if isinstance(content, Sequence) and not isinstance(content, str):
            parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
            texts = [part for part in parts if isinstance(part, str)]
            if not parts or len(texts) < len(parts):
                raise UnusableDialogue(f"a message by {role} with parts that are no text")
            content = " ".join(texts)
        if not isinstance(content, str):
            raise UnusableDialogue(f"a message by {role} whose content is {_named(content)}")
        found.append({"role": role, "content": content})
    return found


def _named(content: Any) -> str:
    return "missing" if content is None else f"of type {type(content).__name__}, not text"


@dataclass(frozen=True)
class _Template:
    """A chat template with everything fixed that its text could depend on but the messages."""

    tokenizer: PreTrainedTokenizerBase
    text: str
    arguments: Mapping[str, Any]
    fold_system: bool = False
    parts: bool = False

    def render(self, prompts: Sequence[Messages], texts: Sequence[Messages] = ()) -> list[str]:
        """The prompts of these dialogues, and then the texts of those.

        Raises UnusableDialogue when the template refuses one of them, and KoSentError when it
        exceeds `template_limits`.
        """
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        where = self.tokenizer.name_or_path
        arguments: Any = {**self.tokenizer.special_tokens_map, **self.arguments}
        found: list[str] = []
        try:
            with template_limits.bounded(where):
                for dialogues, prompt in ((prompts, True), (texts, False)):
                    found += render_jinja_template(
                        conversations=[self.prepared(messages) for messages in dialogues],
                        chat_template=self.text,
                        add_generation_prompt=prompt,
                        **arguments,
                    )[0]
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in dialogues[-1])
            raise UnusableDialogue(
                f"the chat template refuses messages by {roles} ({error})"
            ) from None
        return [template_limits.check_text(text, where) for text in found]

    def prepared(self, messages: Messages) -> list[Any]:
        """The messages as the template gets them."""
        found = list(messages)
        if self.fold_system and found and found[0]["role"] == "system":
            found = _folded(found)
        if self.parts:
            found = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in found]
        return found


def _folded(messages: list[Any]) -> list[Any]:
    """The messages, the system message standing at the beginning of the first user message."""
    system, *rest = messages
    if not system["content"].strip():
        return rest
    if not rest or rest[0]["role"] != "user":
        raise UnusableDialogue("no user message to put the system message into")
    return [{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]


@dataclass(frozen=True)
class ChatFormat:
    """A tokenizer and its chat template as functions from messages to token ids.

    `prefix` is what the model writes between a prompt and its reply, `end` what it writes after
    the reply; `thought` is what a prompt needs at its end so that no thought stays open there.
    `facts` are what training records and evaluation compares.
    """

    tokenizer: PreTrainedTokenizerBase
    facts: dict[str, Any]
    prefix: str
    end: str
    thought: str
    _template: _Template = field(repr=False)
    _last_tail: str = field(repr=False)  # what follows the last reply of a text
    # Token ids by text, of the few texts that stand between the last special token and a reply.
    _seams: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def prompt(self, messages: Messages) -> list[int]:
        """The token ids that the model is given before it replies to `messages`.

        Raises UnusableDialogue when the template refuses these messages.
        """
        return self._ids(self.prompt_text(messages))

    def prompt_text(self, messages: Messages) -> str:
        """The text of `prompt(messages)`."""
        return self._closed(self._template.render([plain(messages)]))[0]

    def samples(self, messages: Messages) -> list[Sample]:
        """The training samples of a dialogue: `input_ids`, and `labels`, -100 where not learned.

        One sample if the template writes before each reply what it writes in a prompt, else one for
        each reply. What follows the last reply is left out. Raises UnusableDialogue for a dialogue
        without a reply, or with one that the template refuses or changes.
        """
        messages = plain(messages)
        turns = [k for k, message in enumerate(messages) if message["role"] == "assistant"]
        if not turns:
            raise UnusableDialogue("no reply by the assistant")
        if not all(messages[k]["content"].strip() for k in turns):
            raise UnusableDialogue("an empty reply")
        if turns[0] == 0:
            raise UnusableDialogue("it begins with a reply")
        replies = [messages[k]["content"] for k in turns]
        until_reply = [messages[:k] for k in turns]
        *prompts, whole = self._template.render(until_reply, [messages[: turns[-1] + 1]])
        prompts = self._closed(prompts)
        sample = self._one_sample(whole, prompts, replies)
        if sample is not None:
            return [sample]
        through_reply = [messages[: k + 1] for k in turns[:-1]]
        texts = [*self._template.render([], through_reply), whole]
        found = []
        for k, prompt, text in zip(turns, prompts, texts, strict=True):
            completion = self._completion(prompt, text, messages[: k + 1])
            ids, learned = self._joined(prompt, completion)
            labels = [IGNORED] * len(ids) + learned
            found.append({"input_ids": ids + learned, "labels": labels})
        return found

    def reply_text(self, ids: Sequence[int]) -> tuple[str, bool]:
        """The reply in what a model wrote after a prompt, and whether a thought was cut off.

        A thought is cut where it stands at the very beginning; one that does not end leaves no
        reply. Special tokens are left out.
        """
        decode, reply = self.tokenizer.decode, list(ids)
        text, prefix = str(decode(reply)).lstrip(), self.prefix.strip()
        thought = False
        close = next((end for begin, end in _THOUGHTS.items() if text.startswith(begin)), None)
        if prefix and text.startswith(prefix):
            close = prefix
        elif prefix and close is None and text.startswith(self._opening):
            close, thought = prefix, True  # another channel than that of replies
        elif close is not None:
            thought = cut_thought(text)[1]
        if close is None:
            return str(decode(reply, skip_special_tokens=True)).strip(), False
        return (self._after(reply, close) if close in text else ""), thought

    def reply_so_far(self, ids: Sequence[int]) -> str:
        """What is certain of a reply while the model still writes it: whole characters, and nothing
        of a beginning that may turn out to be a thought."""
        text = str(self.tokenizer.decode(list(ids))).strip()
        beginnings = (*_THOUGHTS, self.prefix.strip(), self._opening)
        if any(beginning.startswith(text) for beginning in beginnings):
            return ""
        return self.reply_text(ids)[0].rstrip("\ufffd").rstrip()

    def as_written(self, messages: Messages) -> list[Any]:
        """The messages as the template gets them, for a server that applies it."""
        return self._template.prepared(messages)

    @property
    def arguments(self) -> dict[str, Any]:
        """What every rendering passes to the template beside the messages."""
        return dict(self._template.arguments)

    def stop_ids(self, generation_config: Any) -> frozenset[int]:
        """The ids that end a reply: the first of the end of turn, and the model's end tokens."""
        declared = getattr(generation_config, "eos_token_id", None)
        listed = declared if isinstance(declared, list) else [declared]
        listed = [*listed, self.tokenizer.eos_token_id, *self.end_ids[:1]]
        return frozenset(token for token in listed if isinstance(token, int))

    @cached_property
    def end_ids(self) -> list[int]:
        """The token ids of the end of a turn."""
        return self._ids(self.end.strip())

    @cached_property
    def _opening(self) -> str:
        """The first special token of `prefix`: whatever else begins with it is a thought."""
        found = _special_run(self.prefix.strip(), self._special)
        return found[0] if found else self.prefix.strip()

    @cached_property
    def _special(self) -> list[str]:
        return _special_tokens(self.tokenizer)

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        vocabulary = self.tokenizer.get_vocab()
        return frozenset(vocabulary[token] for token in self._special if token in vocabulary)

    def _after(self, ids: list[int], mark: str) -> str:
        """The text after `mark` in what `ids` decode to, without special tokens."""
        low, high = 0, len(ids)
        while low < high:  # the fewest ids whose text has the mark
            middle = (low + high) // 2
            if mark in str(self.tokenizer.decode(ids[:middle])):
                high = middle
            else:
                low = middle + 1
        return str(self.tokenizer.decode(ids[low:], skip_special_tokens=True)).strip()

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _closed(self, prompts: list[str]) -> list[str]:
        """The prompts, a thought that one opens at its end being closed."""
        if not self.thought:
            return prompts
        return [text + self.thought if _OPEN_THOUGHT.search(text) else text for text in prompts]

    def _one_sample(
        self, whole: str, prompts: Sequence[str], replies: Sequence[str]
    ) -> Sample | None:
        """The dialogue as one sample; None where what stands before a reply is not its prompt."""
        completions = []
        for number, (prompt, reply) in enumerate(zip(prompts, replies, strict=True), start=1):
            last = number == len(replies)
            found = whole.startswith(prompt) and self._written(whole, len(prompt), reply, last=last)
            if not found:
                return None
            completions.append(found)
        if not self.tokenizer.is_fast:
            return None  # no offsets
        text = whole[: len(prompts[-1])] + completions[-1]
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        labels = [IGNORED] * len(ids)
        end = 0
        for prompt, completion in zip(prompts, completions, strict=True):
            begin = _token_at(offsets, len(prompt), end)
            if begin is None or begin == len(ids) or not self._joins(ids[:begin], offsets, prompt):
                return None
            through = _token_at(offsets, len(prompt) + len(completion), begin)
            if through is None:
                return None
            end = through
            labels[begin:end] = ids[begin:end]
        return {"input_ids": list(ids), "labels": labels}

    def _written(self, text: str, begin: int, reply: str, *, last: bool) -> str | None:
        """The completion that `text` has at `begin`, if it is the usual prefix, the reply and the
        usual end; the end of the last reply is appended where the template writes another."""
        if not text.startswith(self.prefix, begin):
            return None
        begin += len(self.prefix)
        for written in (reply, reply.strip(), reply.rstrip(), reply.lstrip()):
            if text.startswith(written, begin):
                if text.startswith(self.end, begin + len(written)):
                    return f"{self.prefix}{written}{self.end}"
                # The template ends earlier replies only, or none.
                tail = self._last_tail
                if last and not tail.startswith(self.end) and text[begin + len(written) :] == tail:
                    return f"{self.prefix}{written}{self.end}"
        return None

    def _completion(self, prompt: str, text: str, messages: Messages) -> str:
        """The completion of the last of `messages`, whose text is `text`.

        Where the reply is in the text is found by a dialogue with something else for it.
        """
        reply = messages[-1]["content"]
        if text.startswith(prompt):
            known = self._written(text, len(prompt), reply, last=True)
            if known is not None:
                return known
        aside = [*messages[:-1], {"role": "assistant", "content": _REPLY}]
        (other,) = self._template.render([], [aside])
        head, found, tail = other.rpartition(_REPLY)
        written = text[len(head) : len(text) - len(tail)]
        kept = found and text.startswith(head) and text.endswith(tail)
        if not kept or written.strip() != reply.strip():
            raise UnusableDialogue("the chat template changes a reply")
        if head.startswith(prompt):
            prefix = head[len(prompt) :]
        else:  # the text differs from the prompt further up, as with a system message that moves
            prefix = self.prefix if head.endswith(self.prefix) else ""
        return f"{prefix}{written}{self.end}"

    def _joins(self, before: list[int], offsets: Sequence[tuple[int, int]], prompt: str) -> bool:
        """Whether `before`, the first ids of a longer text, are the ids of `prompt`.

        Only what follows the last special token can differ: a tokenizer reads the parts between
        special tokens each for itself.
        """
        at = len(before)
        while at and before[at - 1] not in self._special_ids:
            at -= 1
        seam = prompt[offsets[at - 1][0] :] if at else prompt
        if seam not in self._seams:
            if len(self._seams) > 1000:  # texts without special tokens: each is seen once
                self._seams.clear()
            self._seams[seam] = self._ids(seam)
        return self._seams[seam] == before[max(at - 1, 0) :]

    def _joined(self, prompt: str, completion: str) -> tuple[list[int], list[int]]:
        """The ids of a prompt and of its completion; the completion's are its own where the two
        texts together would be other tokens."""
        before, both = self._ids(prompt), self._ids(prompt + completion)
        if both[: len(before)] == before:
            return before, both[len(before) :]
        decode = self.tokenizer.decode
        start = len(str(decode(before)))
        candidates = [self._ids(completion)]
        for anchor in ("\n", ".", "a"):  # some tokenizers read the beginning of a text differently
            alone, after = self._ids(anchor), self._ids(anchor + completion)
            if after[: len(alone)] == alone:
                candidates.append(after[len(alone) :])
        exact = (ids for ids in candidates if str(decode(before + ids))[start:] == completion)
        return before, next(exact, candidates[0])


def cut_thought(text: str, opened: bool = False) -> tuple[str, bool]:
    """A reply without the thought at its very beginning, and whether there was one.

    `opened`: the prompt may have opened it. A thought that does not end leaves no reply.
    """
    text = text.strip()
    for begin, end in _THOUGHTS.items():
        thought, found, reply = text.removeprefix(begin).partition(end)
        if text.startswith(begin) or (opened and found and begin not in thought):
            return (reply.strip() if found else ""), bool(thought.strip()) or not found
    return text, False


def _token_at(offsets: Sequence[tuple[int, int]], place: int, low: int) -> int | None:
    """The index, from `low` on, of the first token after `place`; None if one reaches across it.

    Some tokenizers leave a token's white space out of its offsets.
    """
    high = len(offsets)
    while low < high:
        middle = (low + high) // 2
        if offsets[middle][0] < place:
            low = middle + 1
        else:
            high = middle
    return low if low and offsets[low - 1][1] <= place else None


def chat_format(
    tokenizer: PreTrainedTokenizerBase, recorded: Mapping[str, Any] | None = None
) -> ChatFormat:
    """The chat format of a tokenizer, found by rendering its template.

    `recorded`, the facts of an earlier run, gives the switches, the day, and whether a system
    message is folded. Raises KoSentError for a template that cannot be used.
    """
    where, written = tokenizer.name_or_path, tokenizer.get_chat_template()
    recorded = recorded or {}
    date = str(recorded.get("date") or DATE)
    text, arguments = _pinned(written, date)
    template = _readable(_Template(tokenizer, text, arguments))
    switches = dict(recorded["switches"]) if "switches" in recorded else _switches(template)
    template = _with(template, switches)
    system = recorded.get("system") or ("written" if _writes_system(template) else "folded")
    template = replace(template, fold_system=system == "folded")
    asked, answered = template.render([_turns(_USER)], [_turns(_USER, _REPLY)])
    head, found, last = answered.rpartition(_REPLY)
    if not found:
        raise KoSentError(where, "its chat template leaves replies out", "use another model")
    thought, prefix = _seam(asked, head)
    end, how = _end(template, asked, last)
    facts: dict[str, Any] = {
        "template_sha256": hashlib.sha256(written.encode("utf-8")).hexdigest(),
        "switches": switches,
        "system": system,
        "end": end,
        "end_of_turn": how,
    }
    if text != written or "date_string" in arguments:
        facts["date"] = date
    if thought:
        facts["closed_thought"] = thought
    return ChatFormat(tokenizer, facts, prefix, end, thought, template, last)


def _turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    found = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return found if system is None else [{"role": "system", "content": system}, *found]


def _try(template: _Template, messages: Messages, *, prompt: bool = False) -> str:
    """The text, empty if the template refuses the messages."""
    try:
        return (template.render([messages]) if prompt else template.render([], [messages]))[0]
    except UnusableDialogue:
        return ""


def _readable(template: _Template) -> _Template:
    """The template, given contents as text or, if it writes nothing else, as lists of parts."""
    for parts in (False, True):
        tried = replace(template, parts=parts)
        try:
            if _USER in tried.render([_turns(_USER)])[0]:
                return tried
        except UnusableDialogue as error:
            why = error.what
        else:
            why = "its chat template leaves the user's message out"
    raise KoSentError(
        template.tokenizer.name_or_path, why, "give it another template, or use another model"
    )


def _writes_system(template: _Template) -> bool:
    return _SYSTEM in _try(template, _turns(_USER, system=_SYSTEM), prompt=True)


def _seam(asked: str, head: str) -> tuple[str, str]:
    """What closes the thought that a prompt opens, and what a text has between prompt and reply.

    `asked` is a prompt, `head` what the text of its dialogue has before the reply.
    """
    opened = _OPEN_THOUGHT.search(asked)
    thought = ""
    if opened:
        close = _THOUGHTS[opened[1]]
        rest = head[len(asked) :] if head.startswith(asked) else ""
        before, found, after = rest.partition(close)
        if found and not before.strip():
            space = after[: len(after) - len(after.lstrip())]
            thought = before + close + space
        else:
            thought = f"\n{close}\n\n" if asked.endswith("\n") else close
    return thought, head[len(asked + thought) :] if head.startswith(asked + thought) else ""


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The special and added tokens that are not white space, longest first."""
    found = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    return sorted((token for token in found if token.strip()), key=lambda t: (-len(t), t))


def _special_run(text: str, special: Sequence[str]) -> list[str]:
    """The special tokens that `text` begins with, white space between them aside."""
    found, rest = [], text.lstrip()
    while token := next((token for token in special if rest.startswith(token)), None):
        found.append(token)
        rest = rest[len(token) :].lstrip()
    return found


def _end(template: _Template, asked: str, last: str) -> tuple[str, str]:
    """What ends a turn, and how that is known: "written", "eos appended", "next role's mark".

    `asked` is a prompt without a reply, `last` what follows the last reply of a text. The end is
    what follows an earlier and the last reply alike. Some templates write more after the last one,
    some end only that one, and some none.
    """
    tokenizer = template.tokenizer
    special = _special_tokens(tokenizer)
    text = _try(template, _turns(_USER, _REPLY, _SYSTEM))
    earlier = text.rpartition(_REPLY)[2].partition(_SYSTEM)[0] if _SYSTEM in text else last
    runs = [_special_run(after, special) for after in (earlier, last)]
    common = 0
    while all(len(run) > common for run in runs) and runs[0][common] == runs[1][common]:
        common += 1
    if _try(template, _turns(_USER, _REPLY), prompt=True).rpartition(_REPLY)[2] == last:
        # A prompt is written after everything: what it begins with is no end.
        header = asked.rpartition(_USER)[2]
        while common > 1 and runs[1][common - 1] in header:
            common -= 1
    if common:
        return _through(last, runs[1][:common]), "written"
    ends = [
        (after, run[0])
        for after, run in ((last, runs[1]), (earlier, runs[0]))
        if run and (run[0] == tokenizer.eos_token or run[0] not in asked)
    ]
    if ends:
        after, token = ends[0]
        return _through(after, [token]), "written"
    if runs[0]:
        return _through(earlier, runs[0][:1]), "next role's mark"
    if tokenizer.eos_token:
        return str(tokenizer.eos_token), "eos appended"
    raise KoSentError(
        tokenizer.name_or_path,
        "its chat template writes no token after a reply and its tokenizer has no end token, so "
        "the model would never learn to stop",
        "use the Instruct (or chat) version of this model",
    )


def _through(text: str, tokens: Sequence[str]) -> str:
    """The beginning of `text` through these tokens."""
    place = 0
    for token in tokens:
        place = text.index(token, place) + len(token)
    return text[:place]


def _switches(template: _Template) -> dict[str, Any]:
    """The variables that the template reads, by which it leaves thoughts out, and their values."""
    found: dict[str, Any] = {}
    for name, value in _SWITCHES.items():
        if name not in template.text:
            continue
        if name == "reasoning_effort" and _KNOWS_NONE.search(template.text):
            value = "none"
        switched = _with(template, {**found, name: value})
        if all(_both(switched)) and _both(switched) != _both(_with(template, found)):
            found[name] = value
    return found


def _with(template: _Template, arguments: Mapping[str, Any]) -> _Template:
    return replace(template, arguments={**template.arguments, **arguments})


def _both(template: _Template) -> list[str]:
    """A prompt and a text."""
    return [_try(template, _turns(_USER), prompt=True), _try(template, _turns(_USER, _REPLY))]


# strftime's directives on the fixed day, at noon.
_DIRECTIVES = "aAbBdjmyYHIMSpcxXZzfUWwGuV%eFTDR"


def _pinned(template: str, date: str) -> tuple[str, dict[str, Any]]:
    """The template, which tells one day instead of the clock's, and the arguments for that day.

    transformers passes no functions to a template, so the template gets its own `strftime_now`.
    """
    day = datetime.fromisoformat(date)
    arguments = {"date_string": day.strftime("%d %b %Y")} if "date_string" in template else {}
    if "strftime_now" not in template:
        return template, arguments
    written = "".join(f"|replace('%{d}', '{day.strftime('%' + d)}')" for d in _DIRECTIVES)
    macro = f"{{%- macro strftime_now(format) -%}}{{{{ format{written} }}}}{{%- endmacro %}}\n"
    return macro + template, arguments
