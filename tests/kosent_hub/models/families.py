"""Small chat templates, one for each way in which real ones differ, and what is known of each.

`python -m tests.kosent_hub.models.families` prints their table, which stands in
docs/chat-format.md. `--write` puts it there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATES = Path(__file__).parent / "templates"
PAGE = Path(__file__).parents[3] / "docs" / "chat-format.md"
BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"


@dataclass(frozen=True)
class Family:
    """A template, the models that write alike, and what its chat format must be.

    `special` are the tokenizer's special tokens, `prefix` what a model writes before its reply,
    `end` what it writes after the reply, and `samples` how many samples two turns give. `open`: the
    template writes no end after the last reply. `apart`: a prompt ends with a thought that no text
    has. `trims`: what the template trims of a reply, "both" sides or "newlines" before it. `cuts`:
    it changes a reply with this text in it.
    """

    template: str
    models: str
    special: str
    eos: str
    end: str
    bos: str | None = None
    prefix: str = ""
    end_of_turn: str = "written"
    system: str = "written"
    switches: Mapping[str, Any] = field(default_factory=dict)
    closed_thought: str = ""
    dated: bool = False
    samples: int = 1
    open: bool = False
    apart: bool = False
    trims: str = ""
    cuts: str = ""
    parts: bool = False

    @property
    def text(self) -> str:
        """The template."""
        return (TEMPLATES / f"{self.template}.jinja").read_text("utf-8")


FAMILIES = [
    Family(
        "chatml",
        "ChatML: Qwen2.5, SmolLM2, Yi",
        "<|im_start|> <|im_end|>",
        eos="<|im_end|>",
        end="<|im_end|>",
    ),
    Family(
        "trims",
        "Llama 3",
        "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|>",
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        end="<|eot_id|>",
        dated=True,
        trims="both",
    ),
    Family(
        "inst",
        "Llama 2",
        "<s> </s>",
        bos="<s>",
        eos="</s>",
        prefix=" ",
        end=" </s>",
    ),
    Family(
        "system_in_last_user",
        "Mistral Nemo",
        "<s> </s> [INST] [/INST]",
        bos="<s>",
        eos="</s>",
        prefix=" ",
        end="</s>",
        samples=2,
    ),
    Family(
        "effort_none",
        "an effort that may be `none`",
        "<s> </s> [INST] [/INST] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [THINK] [/THINK]",
        bos="<s>",
        eos="</s>",
        end="</s>",
        switches={"reasoning_effort": "none"},
    ),
    Family(
        "refuses_system",
        "Gemma 1 and 2",
        "<bos> <eos> <start_of_turn> <end_of_turn>",
        bos="<bos>",
        eos="<eos>",
        end="<end_of_turn>",
        system="folded",
        trims="both",
    ),
    Family(
        "thought_in_prompt_only",
        "Gemma 4",
        "<bos> <eos> <|turn> <turn|> <|channel> <channel|>",
        bos="<bos>",
        eos="<eos>",
        end="<turn|>",
        samples=2,
        apart=True,
    ),
    Family(
        "drops_system",
        "Phi-3-medium",
        "<|user|> <|assistant|> <|end|> <|endoftext|>",
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        end="<|end|>",
        system="folded",
    ),
    Family(
        "eos_after_all",
        "Phi-3-mini, Phi-3.5",
        "<|system|> <|user|> <|assistant|> <|end|> <|endoftext|>",
        eos="<|endoftext|>",
        end="<|end|>",
    ),
    Family(
        "think_in_last_turn",
        "Qwen3",
        "<|im_start|> <|im_end|>",
        eos="<|im_end|>",
        end="<|im_end|>",
        switches={"enable_thinking": False},
        samples=2,
        trims="newlines",
        cuts="</think>",
    ),
    Family(
        "opens_thought",
        "R1 distills",
        "<|bos|> <|eos|> <|system|> <|user|> <|assistant|>",
        bos="<|bos|>",
        eos="<|eos|>",
        end="<|eos|>",
        closed_thought="\n</think>\n\n",
        samples=2,
        apart=True,
    ),
    Family(
        "closes_thought",
        "a thought that prompts open and texts close",
        "<|im_start|> <|im_end|> <think> </think>",
        eos="<|im_end|>",
        end="<|im_end|>",
        closed_thought="</think>\n",
    ),
    Family(
        "role_marks",
        "GLM-4, ChatGLM3",
        "[gMASK] <sop> <|system|> <|user|> <|assistant|> <|endoftext|>",
        eos="<|endoftext|>",
        prefix="\n",
        end="<|user|>",
        end_of_turn="next role's mark",
        open=True,
    ),
    Family(
        "no_end_when_last",
        "Qwen1.5",
        "<|im_start|> <|im_end|>",
        eos="<|im_end|>",
        end="<|im_end|>",
        open=True,
    ),
    Family(
        "headings",
        "SOLAR, Synatra, Granite-code",
        "<s> </s>",
        bos="<s>",
        eos="</s>",
        end="</s>",
        end_of_turn="eos appended",
        samples=2,
        open=True,
    ),
    Family(
        "speakers",
        "Vicuna",
        "<s> </s>",
        bos="<s>",
        eos="</s>",
        prefix=" ",
        end="</s>",
    ),
    Family(
        "channel",
        "gpt-oss (Harmony)",
        "<|start|> <|channel|> <|message|> <|end|> <|return|>",
        eos="<|return|>",
        prefix="<|channel|>final<|message|>",
        end="<|return|>",
        switches={"reasoning_effort": "low"},
        dated=True,
        samples=2,
    ),
    Family(
        "response_marks",
        "Command A Reasoning",
        "<BOS> <EOS> <|START_OF_TURN|> <|MESSAGE|> <|START_RESPONSE|> <|END_RESPONSE|> "
        "<|START_THINKING|> <|END_THINKING|> <|END_OF_TURN|>",
        bos="<BOS>",
        eos="<|END_OF_TURN|>",
        prefix="<|START_RESPONSE|>",
        end="<|END_RESPONSE|><|END_OF_TURN|>",
        switches={"reasoning": False},
    ),
    Family(
        "two_ends",
        "HyperCLOVA X Think",
        "<|im_start|> <|im_end|> <|endofturn|>",
        eos="<|endofturn|>",
        end="<|im_end|><|endofturn|>",
        switches={"skip_reasoning": True},
    ),
    Family(
        "thinking_budget",
        "Seed-OSS",
        "<seed:bos> <seed:eos> <seed:think> </seed:think>",
        bos="<seed:bos>",
        eos="<seed:eos>",
        end="<seed:eos>",
        switches={"thinking_budget": 0},
        samples=2,
        apart=True,
    ),
    Family(
        "clock",
        "Granite 3",
        "<|start_of_role|> <|end_of_role|> <|end_of_text|>",
        eos="<|end_of_text|>",
        end="<|end_of_text|>",
        dated=True,
    ),
    Family(
        "prompt_after_all",
        "a prompt after every text",
        "<|im_start|> <|im_end|>",
        eos="<|im_end|>",
        end="<|im_end|>",
    ),
    Family(
        "parts",
        "contents as lists of parts only",
        "<end_of_utterance>",
        eos="<end_of_utterance>",
        prefix=" ",
        end="<end_of_utterance>",
        parts=True,
    ),
]
BY_NAME = {family.template: family for family in FAMILIES}

# What the tokenizers of the tests are trained on.
_SAID = [
    "당신은 감정을 공감해주는 챗봇입니다.",
    "오늘 시험을 망쳤어. 많이 속상하셨겠어요.",
    "응. 두 번째야. 그래도 여기까지 오셨잖아요.",
    "친구가 약속을 잊었어. 서운한 마음이 크셨겠어요.",
    "system user assistant model USER: ASSISTANT: [INST] [/INST] ### User: ### Assistant:\n\n",
    "Today is Reasoning: low <think>\n\n</think>\n\n final thought",
]


KINDS = ("byte level", "GPT-2", "metaspace, first", "metaspace, always")


@cache
def _byte_level(kind: str) -> str:
    """A byte-level BPE, as JSON. Newlines are words of their own, as Llama 3 and Qwen have it; in
    "GPT-2", the last one before a word is not."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    found = Tokenizer(models.BPE())
    words = Regex(r"\s*\n+| ?\p{L}+| ?[^\s\p{L}]+|\s+(?!\S)|\s+")
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    if kind == "GPT-2":
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    found.train_from_iterator(_SAID * 5, trainer)
    return str(found.to_str())


@cache
def _metaspace(kind: str) -> str:
    """A BPE with `▁` for spaces and bytes for what is not in the vocabulary, as Llama 2 has it.

    A text gets a leading `▁` where it begins, or "always", after special tokens, too.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    unit = [f"<0x{byte:02X}>" for byte in range(256)]
    found = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    scheme = kind.removeprefix("metaspace, ")
    found.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<unk>", *unit], show_progress=False
    )
    found.train_from_iterator(_SAID * 5, trainer)
    found.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    settings = json.loads(found.to_str())
    # Bytes are tokens of the vocabulary, not marks to look for in a text.
    settings["added_tokens"] = [t for t in settings["added_tokens"] if t["content"] == "<unk>"]
    return json.dumps(settings)


def tokenizer(family: Family, kind: str = "byte level") -> PreTrainedTokenizerBase:
    """A small tokenizer of one of KINDS that speaks as the family does."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    base = _metaspace(kind) if kind.startswith("metaspace") else _byte_level(kind)
    found = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(base),
        name_or_path=family.template,
        clean_up_tokenization_spaces=False,
    )
    tokens: list[Any] = [
        AddedToken(token, special=True, normalized=False) for token in family.special.split()
    ]
    found.add_special_tokens({"additional_special_tokens": tokens})
    found.bos_token, found.eos_token = family.bos, family.eos
    found.chat_template = family.text
    return found


def table() -> str:
    """The families as a Markdown table, found by rendering their templates."""
    from kosent_hub.models.chat_format import chat_format

    lines = [
        "| models | learned | system message | switched | a sample is |",
        "|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        form = chat_format(tokenizer(family))
        learned = f"{_shown(form.prefix)} *reply* {_shown(form.end)}".strip()
        if form.facts["end_of_turn"] != "written":
            learned += f" ({form.facts['end_of_turn']})"
        switched = [f"`{name}={value}`" for name, value in form.facts["switches"].items()]
        if "closed_thought" in form.facts:
            switched.append(f"thought closed: {_shown(form.facts['closed_thought'])}")
        if "date" in form.facts:
            switched.append(f"the day: {form.facts['date']}")
        each = "a dialogue" if len(form.samples(_TWO_TURNS)) == 1 else "a reply"
        cells = [family.models, learned, form.facts["system"], ", ".join(switched), each]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


_TWO_TURNS = [
    {"role": "system", "content": _SAID[0]},
    {"role": "user", "content": "오늘 시험을 망쳤어."},
    {"role": "assistant", "content": "많이 속상하셨겠어요."},
    {"role": "user", "content": "응. 두 번째야."},
    {"role": "assistant", "content": "그래도 여기까지 오셨잖아요."},
]


def _shown(text: str) -> str:
    """The text as code that a table cell can hold, white space shown."""
    if not text:
        return ""
    visible = text.replace("\n", "↵").replace("|", "\\|")
    return f"`{'␣' if visible == ' ' else visible}`"


def page() -> str:
    """docs/chat-format.md with today's table."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), "utf-8")
    else:
        print(table())
