"""What is learned of a dialogue: for marked templates, for our variants, and for any other."""

from importlib import resources
from pathlib import Path

import pytest

from kosent_hub.models.encoding import IGNORED, Encoder, encoder, show
from kosent_hub.models.tokenizer import (
    load_tokenizer,
    render,
    render_kwargs,
    template_sha256,
    turn_end,
)
from model_card.publishing.errors import KoSentError

TRL = resources.files("trl") / "chat_templates"
SYSTEM = {"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."}
TWO_TURNS = [
    SYSTEM,
    {"role": "user", "content": "오늘 시험을 망쳤어."},
    {"role": "assistant", "content": "많이 속상하셨겠어요."},
    {"role": "user", "content": "응. 두 번째야."},
    {"role": "assistant", "content": "그래도 여기까지 오셨잖아요."},
]
# The special tokens each template writes, which a tokenizer of another model lacks.
TOKENS = {
    "llama3_1": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "llama3_2": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma3": ["<bos>", "<start_of_turn>", "<end_of_turn>"],
    "phi3": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
    "deepseekv3": ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"],
    "qwen2_5": [],
    "qwen3": [],
}


@pytest.fixture
def tokenizer(smollm2: Path):
    return load_tokenizer(str(smollm2))


def speaking(tokenizer, name: str):
    """The tokenizer with another model's template and the special tokens of that."""
    tokenizer.add_special_tokens({"additional_special_tokens": TOKENS[name]})
    tokenizer.chat_template = (TRL / f"{name}.jinja").read_text(encoding="utf-8")
    if name.startswith("llama"):
        tokenizer.bos_token, tokenizer.eos_token = "<|begin_of_text|>", "<|eot_id|>"
    if name == "deepseekv3":
        tokenizer.eos_token = "<｜end▁of▁sentence｜>"
    return tokenizer


def learned(of: Encoder, messages) -> list[str]:
    """The learned stretches of a dialogue, as text."""
    (sample,) = of.encode([messages])
    marked = show(of.tokenizer, sample)
    return [part.split("]]")[0] for part in marked.split("[[")[1:]]


@pytest.mark.parametrize("name", [None, "llama3_1", "llama3_2"])
def test_packaged_variants_write_the_models_own_text(tokenizer, name: str | None):
    if name:
        tokenizer = speaking(tokenizer, name)
    own = encoder(tokenizer)
    assert own.marked is not None and own.marked != tokenizer.chat_template
    for messages in (TWO_TURNS, TWO_TURNS[1:], TWO_TURNS[:3]):
        text, _ = own.render(messages)
        assert text == render(tokenizer, messages)
    end = "<|eot_id|>" if name else "<|im_end|>"
    assert learned(own, TWO_TURNS) == [
        f"많이 속상하셨겠어요.{end}",
        f"그래도 여기까지 오셨잖아요.{end}",
    ]


@pytest.mark.parametrize("name", [None, *TOKENS])
def test_templates_that_nobody_marked_learn_the_same(tokenizer, name: str | None):
    if name:
        tokenizer = speaking(tokenizer, name)
    end = turn_end(tokenizer)
    unmarked = Encoder(tokenizer, end, None)
    assert learned(unmarked, TWO_TURNS) == [
        f"많이 속상하셨겠어요.{end}",
        f"그래도 여기까지 오셨잖아요.{end}",
    ]
    if (known := encoder(tokenizer)).marked:
        assert list(known.encode([TWO_TURNS])) == list(unmarked.encode([TWO_TURNS]))


def test_the_date_of_llamas_template_stands_still(tokenizer):
    for name in ("llama3_1", "llama3_2"):
        own = speaking(tokenizer, name)
        assert render_kwargs(own) == {"date_string": "26 Jul 2024"}
        assert "Today Date: 26 Jul 2024\n" in render(own, TWO_TURNS)


def test_a_template_that_ends_no_turn_is_refused(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(KoSentError, match="would never learn to stop"):
        encoder(tokenizer)


def test_a_template_that_rewrites_replies_is_refused(tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.content | replace('속상', '기뻐') }}<|im_end|>"
        "{% endfor %}"
    )
    with pytest.raises(KoSentError, match="dialogue 1: this model's chat template changes"):
        list(encoder(tokenizer).encode([TWO_TURNS]))


def test_a_dialogue_without_a_reply_is_refused_by_its_number(tokenizer):
    with pytest.raises(KoSentError, match="dialogue 2: 0 assistant turns"):
        list(encoder(tokenizer).encode([TWO_TURNS, TWO_TURNS[:2]]))


def test_what_is_too_long_loses_whole_turns_and_is_counted(tokenizer):
    own = encoder(tokenizer)
    whole, first = (len(next(own.encode([m]))["labels"]) for m in (TWO_TURNS, TWO_TURNS[:3]))
    samples, counts = own.fit([TWO_TURNS, TWO_TURNS[:3]], whole - 2)
    assert (counts.samples, counts.shortened, counts.dropped) == (2, 1, 0)
    assert (counts.longest, counts.tokens) == (whole, sum(len(s["labels"]) for s in samples))
    # The template writes a newline after the end of turn; a cut dialogue ends with that token.
    assert len(samples[0]["labels"]) == first - 1
    assert samples[0]["labels"][-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    nothing, counts = own.fit([TWO_TURNS], 20)
    assert (nothing, counts.dropped) == ([], 1)


def test_padding_is_never_the_end_of_a_turn(tokenizer, smollm2: Path):
    assert (tokenizer.pad_token, turn_end(tokenizer)) == ("<|endoftext|>", "<|im_end|>")
    shipped = (smollm2 / "chat_template.jinja").read_text()
    assert tokenizer.chat_template == shipped
    # SHA-256 of SmolLM2-135M-Instruct's template; the card prints it.
    digest = "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"
    assert template_sha256(tokenizer) == digest


def test_a_users_template_is_checked_and_padded_as_the_models_own(smollm2: Path):
    with pytest.raises(KoSentError, match="its chat template raises numbers to powers"):
        load_tokenizer(str(smollm2), chat_template="{{ 10 ** 10 ** 8 }}")
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>{% endfor %}"
    tokenizer = load_tokenizer(str(smollm2), chat_template=plain)
    assert tokenizer.chat_template == plain and turn_end(tokenizer) == "<|endoftext|>"
    assert tokenizer.pad_token not in (None, "<|endoftext|>")


def test_a_prompt_ends_where_the_reply_begins(tokenizer):
    prompt = render(tokenizer, TWO_TURNS[:2], reply=True)
    assert prompt.endswith("<|im_start|>assistant\n")
    assert render(tokenizer, TWO_TURNS[:3]).startswith(prompt)


def test_learned_ids_are_the_replys_own(tokenizer):
    (sample,) = encoder(tokenizer).encode([TWO_TURNS[:3]])
    ids = [label for label in sample["labels"] if label != IGNORED]
    assert tokenizer.decode(ids) == "많이 속상하셨겠어요.<|im_end|>"
    assert ids == tokenizer.encode("많이 속상하셨겠어요.<|im_end|>")
