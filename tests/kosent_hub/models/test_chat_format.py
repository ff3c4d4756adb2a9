"""The chat format: prompts, and what is learned of a dialogue, against templates rendered here."""

import hashlib
import os
import re
import shutil
from datetime import datetime
from importlib import resources
from itertools import groupby
from pathlib import Path

import pytest
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kosent_hub.models.chat_format import (
    DATE,
    IGNORED,
    UnusableDialogue,
    chat_format,
    cut_thought,
    plain,
)
from kosent_hub.models.tokenizer import load_tokenizer
from kosent_hub.training.samples import FEW, encode
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.models.families import BY_NAME, FAMILIES, PAGE, Family, page, tokenizer

TRL = resources.files("trl") / "chat_templates"
SYSTEM = "당신은 감정을 공감해주는 챗봇입니다."
OPEN_THOUGHT = re.compile(r"(<think>|<seed:think>|\[THINK\]|<\|channel>thought)\s*$")


def dialogue(*contents, system=SYSTEM):
    """The messages: a system message unless it is None, then user and assistant in turn."""
    found = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return found + [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


TWO_TURNS = dialogue(
    "오늘 시험을 망쳤어.", "많이 속상하셨겠어요.", "응. 두 번째야.", "그래도 여기까지 오셨잖아요."
)
DIALOGUES = {
    "one turn": TWO_TURNS[:3],
    "two turns": TWO_TURNS,
    "three turns": [*TWO_TURNS, *dialogue("고마워.", "언제든 이야기해 주세요.", system=None)],
    "no system message": TWO_TURNS[1:],
    "an empty system message": dialogue("하나", "그렇군요.", "둘", "네, 둘이요.", system=""),
    "white space": dialogue("  뭐 하지? \n", "첫째,\n\n 둘째\n - 물", "\t응", " 네,  그래요. "),
    "white space at both ends": dialogue("\n응\n", "\n \t쉬세요.\n\n", "네  ", "\n\n네.\n"),
    "emoji": dialogue("a < b 😀", "그래요 {{ x }} [네] 🥹👨‍👩‍👧", "🙂", "👍🏽"),
    "the user's own words": dialogue("힘들어", "힘들어", "힘들어", "힘들어"),
    "one character": dialogue("응", "네", "응", "."),
    "English": dialogue("I am sad.", "Oh no. I am with you.", "Thanks", "You are welcome."),
    "an open thought": dialogue("뭐?", "<think>는 태그예요.", "네", "태그 <think>요"),
    "a thought": dialogue("뭐?", "<think>음</think>네.", "네", "<think>\n\n</think>\n\n또요."),
}


def quoting(family: Family):
    """Replies that quote the marks of the family's template."""
    marks = [*family.special.split(), family.prefix.strip(), family.end.strip(), "### User:"]
    quotes = " ".join(mark for mark in marks if mark)
    return dialogue(
        "뭐라고?",
        f"{quotes} 라고요.",
        f"{family.end}응",
        f"네,{family.eos} [INST] USER: {quotes} 끝",
    )


def rendered(family: Family, messages, *, prompt: bool = False) -> str:
    """What the family's template writes, rendered by Jinja itself on the fixed day."""

    def refuse(why):
        raise TemplateError(why)

    messages = [dict(message) for message in messages]
    if family.system == "folded" and messages[0]["role"] == "system":
        system = messages.pop(0)["content"]
        if system:
            messages[0]["content"] = f"{system}\n\n{messages[0]['content']}"
    if family.parts:
        for message in messages:
            message["content"] = [{"type": "text", "text": message["content"]}]
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    jinja.globals |= {
        "raise_exception": refuse,
        "strftime_now": datetime(2024, 7, 26, 12).strftime,
    }
    return jinja.from_string(family.text).render(
        messages=messages,
        add_generation_prompt=prompt,
        bos_token=family.bos,
        eos_token=family.eos,
        date_string="26 Jul 2024",
        **family.switches,
    )


def runs(samples):
    """(ids before, learned ids) of each learned run of these samples."""
    found = []
    for sample in samples:
        ids, labels, at = sample["input_ids"], sample["labels"], 0
        assert len(ids) == len(labels)
        for learned, run in groupby(label != IGNORED for label in labels):
            end = at + len(list(run))
            if learned:
                assert labels[at:end] == ids[at:end]
                found.append((ids[:at], ids[at:end]))
            at = end
    return found


def replies(messages):
    return [k for k, message in enumerate(messages) if message["role"] == "assistant"]


CASES = [
    *((family.template, "byte level") for family in FAMILIES),
    *(
        (name, "GPT-2")
        for name in ("trims", "headings", "role_marks", "think_in_last_turn", "opens_thought")
    ),
    *(
        (name, f"metaspace, {scheme}")
        for name in ("inst", "speakers", "headings", "system_in_last_user", "parts")
        for scheme in ("first", "always")
    ),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_is_learned_follows_the_prompt_and_is_what_the_template_writes(name: str, kind: str):
    family = BY_NAME[name]
    speaking = tokenizer(family, kind)
    form = chat_format(speaking)

    def ids(text):
        return speaking(text, add_special_tokens=False)["input_ids"]

    for case, messages in (DIALOGUES | {"quotes": quoting(family)}).items():
        turns = replies(messages)
        if family.cuts and any(family.cuts in messages[k]["content"] for k in turns):
            with pytest.raises(UnusableDialogue, match="changes a reply"):
                form.samples(messages)
            continue
        learned = runs(form.samples(messages))
        assert len(learned) == len(turns), case
        for k, (before, completion) in zip(turns, learned, strict=True):
            prompt = rendered(family, messages[:k], prompt=True)
            if family.closed_thought:
                prompt += family.closed_thought
            assert before == form.prompt(messages[:k]) == ids(prompt), case
            assert not OPEN_THOUGHT.search(prompt), case
            reply = messages[k]["content"]
            reply = {"": reply, "both": reply.strip(), "newlines": reply.lstrip("\n")}[family.trims]
            expected = f"{family.prefix}{reply}{family.end}"
            assert_written(family, messages[: k + 1], prompt, expected)
            together = ids(prompt + expected)
            if together[: len(before)] == before:
                assert completion == together[len(before) :], case
            assert speaking.decode(before + completion) == speaking.decode(together), case


def assert_written(family: Family, messages, prompt: str, expected: str) -> None:
    """The template itself writes what is expected, after the prompt where its texts have that."""
    text = rendered(family, messages)
    if family.open:
        expected = expected.removesuffix(family.end)
        assert text.rstrip("\n") == f"{prompt}{expected}".rstrip("\n")
    elif family.apart:
        assert expected in text and not text.startswith(f"{prompt}{expected}")
    else:
        assert text.startswith(f"{prompt}{expected}")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_what_is_found_out_about_a_template(family: Family):
    form = chat_format(tokenizer(family))
    expected = {
        "template_sha256": hashlib.sha256(family.text.encode()).hexdigest(),
        "switches": family.switches,
        "system": family.system,
        "end": family.end,
        "end_of_turn": family.end_of_turn,
    }
    if family.dated:
        expected["date"] = DATE
    if family.closed_thought:
        expected["closed_thought"] = family.closed_thought
    assert (form.facts, form.prefix) == (expected, family.prefix)
    assert len(form.samples(TWO_TURNS)) == family.samples
    assert chat_format(tokenizer(family), form.facts).facts == form.facts


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_reply_is_read_as_it_was_learned(family: Family):
    form = chat_format(tokenizer(family))
    for messages in (TWO_TURNS, DIALOGUES["emoji"], DIALOGUES["white space"]):
        for k, (_, learned) in zip(replies(messages), runs(form.samples(messages)), strict=True):
            assert form.reply_text(learned) == (messages[k]["content"].strip(), False)
            assert learned[-1] in form.stop_ids(None) or len(form.end_ids) > 1


@pytest.mark.parametrize("name", ["trims", "clock", "channel"])
def test_the_day_is_the_recorded_one(name: str):
    family = BY_NAME[name]
    today = chat_format(tokenizer(family))
    assert re.search(
        "26 Jul 2024|July 26, 2024, a Friday|2024-07-26", today.prompt_text(TWO_TURNS[:2])
    )
    other = chat_format(tokenizer(family), today.facts | {"date": "2025-01-02"})
    text = other.prompt_text(TWO_TURNS[:2])
    assert re.search("02 Jan 2025|January 02, 2025, a Thursday|2025-01-02", text)
    assert other.facts["date"] == "2025-01-02"
    assert other.samples(TWO_TURNS) != today.samples(TWO_TURNS)


def test_what_is_recorded_is_done_again():
    qwen = tokenizer(BY_NAME["think_in_last_turn"])
    thinking = chat_format(qwen, {"switches": {}})
    assert thinking.prompt_text(TWO_TURNS[:2]).endswith("<|im_start|>assistant\n")
    folded = chat_format(qwen, {"system": "folded"})
    assert f"<|im_start|>user\n{SYSTEM}\n\n오늘 시험" in folded.prompt_text(TWO_TURNS[:2])
    assert folded.as_written(TWO_TURNS)[0]["content"].startswith(SYSTEM)


def test_a_system_message_is_folded_or_the_dialogue_refused():
    form = chat_format(tokenizer(BY_NAME["refuses_system"]))
    assert form.as_written(TWO_TURNS)[0] == {
        "role": "user",
        "content": f"{SYSTEM}\n\n오늘 시험을 망쳤어.",
    }
    with pytest.raises(UnusableDialogue, match="no user message to put the system message into"):
        form.prompt(TWO_TURNS[:1])
    with pytest.raises(UnusableDialogue, match=r"refuses messages by user, tool \(no role but"):
        form.prompt([TWO_TURNS[1], {"role": "tool", "content": "42"}])


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        (TWO_TURNS[:2], "no reply by the assistant"),
        (dialogue("응", " \n"), "an empty reply"),
        ([{"role": "assistant", "content": "네"}], "it begins with a reply"),
    ],
)
def test_a_dialogue_without_a_reply_to_a_user_is_refused(messages, why: str):
    with pytest.raises(UnusableDialogue, match=why):
        chat_format(tokenizer(BY_NAME["chatml"])).samples(messages)


def test_a_template_that_rewrites_replies_is_refused():
    rewriting = tokenizer(BY_NAME["chatml"])
    rewriting.chat_template = rewriting.chat_template.replace(
        "m.content", "m.content | replace('속상', '기뻐')"
    )
    form = chat_format(rewriting)
    with pytest.raises(UnusableDialogue, match="the chat template changes a reply"):
        form.samples(TWO_TURNS)
    assert form.samples(dialogue("응", "네"))


def test_a_model_that_has_no_end_token_is_refused():
    endless = tokenizer(BY_NAME["headings"])
    endless.eos_token = None
    with pytest.raises(KoSentError, match="would never learn to stop"):
        chat_format(endless)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ bos_token }}Hello", "leaves the user's message out"),
        ("{{ raise_exception('no') }}", r"refuses messages by user \(no\)"),
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
            "leaves replies out",
        ),
        ("{% for i in range(99999) %}{{ messages | string * 999 }}{% endfor %}", "chat template"),
    ],
)
def test_a_template_that_nothing_can_be_made_of_is_refused(template: str, why: str):
    speaking = tokenizer(BY_NAME["trims"])
    speaking.chat_template = template
    with pytest.raises(KoSentError, match=why) as refused:
        chat_format(speaking)
    assert refused.value.where == "trims" and "\n" not in str(refused.value)


# What messages may be.


def test_text_parts_are_joined_and_all_else_is_refused():
    parts = [{"type": "text", "text": "오늘"}, {"type": "text", "text": "힘들어"}]
    said = [{"role": "user", "content": parts, "name": "나"}]
    assert plain(said) == [{"role": "user", "content": "오늘 힘들어"}]
    form = chat_format(tokenizer(BY_NAME["chatml"]))
    assert form.prompt(said) == form.prompt(dialogue("오늘 힘들어", system=None))


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"role": "user", "content": None}], "by user whose content is missing"),
        ([{"role": "user", "content": 7}], "by user whose content is of type int, not text"),
        ([{"role": "user"}], "by user whose content is missing"),
        ([{"role": "user", "content": {"text": "응"}}], "whose content is of type dict, not text"),
        ([{"role": "user", "content": []}], "parts that are no text"),
        ([{"role": "user", "content": [{"type": "image"}]}], "parts that are no text"),
        ([{"role": "user", "content": ["응"]}], "parts that are no text"),
        ([{"content": "응"}], "without a role"),
        ([{"role": None, "content": "응"}], "without a role"),
        (["응"], "without a role"),
        ('[{"role": "user", "content": "응"}]', "no list of messages"),
        ([], "no list of messages"),
        (None, "no list of messages"),
    ],
)
def test_what_is_no_message_is_refused(messages, why: str):
    with pytest.raises(UnusableDialogue, match=why):
        plain(messages)


# What a model wrote.


@pytest.mark.parametrize(
    ("name", "written", "reply", "thought"),
    [
        ("chatml", "<think>\n음.\n</think>\n\n네.<|im_end|>", "네.", True),
        ("chatml", " \n<think>음.</think>네.", "네.", True),
        ("chatml", "<think>\n\n</think>\n\n네.<|im_end|>", "네.", False),
        ("chatml", "<think>아직 생각", "", True),
        ("chatml", "네. <think>는 태그, </think>도요.<|im_end|>", None, False),
        ("chatml", "<|im_end|>", "", False),
        ("closes_thought", "<think>음.</think>\n네.<|im_end|>", "네.", True),
        ("closes_thought", "네. </think>는 태그", "네. 는 태그", False),
        ("effort_none", "[THINK]음.[/THINK]네.</s>", "네.", True),
        ("thinking_budget", "<seed:think>음.</seed:think>네.<seed:eos>", "네.", True),
        ("thought_in_prompt_only", "<|channel>thought\n음.<channel|>네.<turn|>", "네.", True),
        ("thought_in_prompt_only", "<|channel>thought\n<channel|>네.<turn|>", "네.", False),
        ("channel", "<|channel|>final<|message|>네.<|return|>", "네.", False),
        (
            "channel",
            "<|channel|>analysis<|message|>음.<|end|><|start|>assistant<|channel|>final<|message|>"
            "네.<|return|>",
            "네.",
            True,
        ),
        ("channel", "<|channel|>analysis<|message|>음.", "", True),
        ("channel", "네.<|return|>", "네.", False),
        (
            "response_marks",
            "<|START_THINKING|>음.<|END_THINKING|><|START_RESPONSE|>네.<|END_RESPONSE|>",
            "네.",
            True,
        ),
        ("response_marks", "<|START_RESPONSE|>네.<|END_RESPONSE|>", "네.", False),
    ],
)
def test_a_thought_before_a_reply_is_cut(name: str, written: str, reply, thought: bool):
    family = BY_NAME[name]
    speaking = tokenizer(family)
    ids = speaking(written, add_special_tokens=False)["input_ids"]
    expected = written.removesuffix(family.end) if reply is None else reply
    assert chat_format(speaking).reply_text(ids) == (expected, thought)


def test_a_thought_that_the_prompt_opened_is_cut():
    assert cut_thought("음.\n</think>\n\n네.", opened=True) == ("네.", True)
    quoted = "네. <think>음</think>은 태그예요."
    assert cut_thought(quoted, opened=True) == (quoted, False)
    assert cut_thought("음.\n</think>\n\n네.") == ("음.\n</think>\n\n네.", False)


# Templates and tokenizers as they are shipped.


@pytest.fixture
def smollm(smollm2: Path):
    return load_tokenizer(str(smollm2))


# The special tokens that each of TRL's templates writes, the end of a turn last.
SHIPPED = {
    "llama3_1": "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|>",
    "llama3_2": "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|>",
    "gemma3": "<bos> <start_of_turn> <end_of_turn>",
    "phi3": "<|system|> <|user|> <|assistant|> <|end|>",
    "deepseekv3": "<｜begin▁of▁sentence｜> <｜User｜> <｜Assistant｜> <｜end▁of▁sentence｜>",
    "qwen2_5": "<|im_start|> <|im_end|>",
    "qwen3": "<|im_start|> <|im_end|>",
}
# Those that write thoughts. SmolLM2's tokenizer reads two newlines before a reply as one and one.
A_REPLY_EACH = {"ours": {"qwen3", "deepseekv3"}}
A_REPLY_EACH["smollm2"] = A_REPLY_EACH["ours"] | {"llama3_1", "llama3_2"}


@pytest.mark.parametrize("whose", ["smollm2", "ours"])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_learn_the_reply_and_its_end(smollm2: Path, name: str, whose: str):
    ours = whose == "ours"
    speaking = tokenizer(BY_NAME["chatml"]) if ours else load_tokenizer(str(smollm2))
    special = SHIPPED[name].split()
    speaking.add_special_tokens({"additional_special_tokens": special})
    speaking.bos_token, speaking.eos_token = special[0], special[-1]
    speaking.chat_template = (TRL / f"{name}.jinja").read_text(encoding="utf-8")
    form = chat_format(speaking)
    assert_own_ids(form, TWO_TURNS, a_reply_each=name in A_REPLY_EACH[whose])
    if name in ("llama3_1", "llama3_2"):
        assert "Today Date: 26 Jul 2024\n" in form.prompt_text(TWO_TURNS[:2])


def test_smollm2_learns_the_reply_and_its_end(smollm):
    assert_own_ids(chat_format(smollm), TWO_TURNS, a_reply_each=False)


def assert_own_ids(form, two_turns, *, a_reply_each: bool) -> None:
    """Learned are the ids that the replies and their ends have alone."""
    for messages in (two_turns, two_turns[1:], two_turns[:3]):
        samples, turns = form.samples(messages), replies(messages)
        assert len(samples) == (len(turns) if a_reply_each else 1)
        for k, (before, learned) in zip(turns, runs(samples), strict=True):
            text = f"{messages[k]['content']}{form.tokenizer.eos_token}"
            assert before == form.prompt(messages[:k])
            assert learned == form.tokenizer.encode(text)
            assert form.tokenizer.decode(learned) == text


def test_padding_is_never_the_end_of_a_turn(smollm, smollm2: Path):
    assert smollm.pad_token == "<|endoftext|>"
    assert smollm.chat_template == (smollm2 / "chat_template.jinja").read_text()
    form = chat_format(smollm)
    assert form.end == "<|im_end|>"
    # SHA-256 of SmolLM2-135M-Instruct's template; the card prints it.
    digest = "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"
    assert form.facts["template_sha256"] == digest


def test_a_users_template_is_checked_and_padded_as_the_models_own(smollm2: Path):
    with pytest.raises(KoSentError, match="its chat template raises numbers to powers"):
        load_tokenizer(str(smollm2), chat_template="{{ 10 ** 10 ** 8 }}")
    given = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>{% endfor %}"
    speaking = load_tokenizer(str(smollm2), chat_template=given)
    assert speaking.chat_template == given and chat_format(speaking).end == "<|endoftext|>"
    assert speaking.pad_token not in (None, "<|endoftext|>")


def test_of_several_templates_the_default_counts_and_none_is_an_error(
    smollm, smollm2: Path, tmp_path: Path
):
    folder = tmp_path / "model"
    shutil.copytree(smollm2, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    named = folder / "additional_chat_templates"
    named.mkdir()
    for name in ("tool_use", "rag"):
        (named / f"{name}.jinja").write_text(BY_NAME["headings"].text)
    assert chat_format(load_tokenizer(str(folder))).facts == chat_format(smollm).facts
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(KoSentError) as refused:
        load_tokenizer(str(folder))
    line = str(refused.value)
    assert "chat templates are named rag, tool_use, and none is the default" in line
    assert "--chat-template FILE" in line and "\n" not in line
    given = load_tokenizer(str(folder), chat_template=BY_NAME["chatml"].text)
    assert chat_format(given).end == "<|im_end|>"


# A split's samples.


def encoded(form, dialogues, max_length=None, max_dropped=0.05):
    return encode(form, dialogues, max_length, split="train", max_dropped=max_dropped)


def test_what_is_too_long_loses_whole_turns_and_is_counted(smollm):
    form = chat_format(smollm)
    (both,), (first,) = form.samples(TWO_TURNS), form.samples(TWO_TURNS[:3])
    whole = len(both["labels"])
    found = encoded(form, [TWO_TURNS, TWO_TURNS[:3]], whole - 2)
    counts = found.counts
    assert (counts.samples, counts.shortened, counts.dropped) == (2, 1, 0)
    kept = list(found.samples)
    assert (counts.longest, counts.tokens) == (whole, sum(len(s["labels"]) for s in kept))
    assert counts.learned == sum(label != IGNORED for s in kept for label in s["labels"])
    # A cut dialogue ends with the end of its last whole turn.
    assert kept[0] == kept[1] == first
    assert first["labels"][-1] == smollm.convert_tokens_to_ids("<|im_end|>")
    nothing = encoded(form, [TWO_TURNS], 20)
    assert (len(nothing.samples), nothing.counts.dropped) == (0, 1)


BAD = dialogue("응", "")


def test_dialogues_that_cannot_be_learned_are_listed_or_stop_it(smollm, capsys):
    form = chat_format(smollm)
    many = [TWO_TURNS] * 99
    found = encoded(form, [*many[:40], BAD, *many[40:]])
    assert (found.counts.dialogues, found.counts.unusable, found.counts.samples) == (99, 1, 99)
    assert capsys.readouterr().err.splitlines() == [
        "train, row 40: an empty reply; left out",
        "train: 1 of 100 dialogues left out",
    ]
    seven = [*many[:3], *[BAD] * 7, *many]
    with pytest.raises(KoSentError) as stopped:
        encoded(form, seven)
    assert "\n" not in str(stopped.value) and stopped.value.where == "train, row 3"
    assert "7 of 109 dialogues (6.4%) would be left out" in str(stopped.value)
    assert capsys.readouterr().err.splitlines() == [
        *(f"train, row {row}: an empty reply; left out" for row in range(3, 8)),
        "train: 2 more like these",
    ]
    assert encoded(form, seven, max_dropped=0.1).counts.unusable == 7


@pytest.mark.slow
def test_several_processes_encode_as_one_does(monkeypatch, capsys):
    form = chat_format(tokenizer(BY_NAME["chatml"]))
    usual = [dialogue(f"말 {n}", f"답 {n}", "응", "네" * (n % 7 + 1)) for n in range(FEW)]
    for row in (0, 300, 1999):
        usual[row] = BAD
    found, said = [], []
    for cores in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        found.append(encoded(form, usual, 55))
        said.append([line for line in capsys.readouterr().err.splitlines() if "left out" in line])
    one, several = found
    assert (one.sha256, one.counts) == (several.sha256, several.counts)
    listed = [f"train, row {row}: an empty reply; left out" for row in (0, 300, 1999)]
    assert said[0] == said[1] == [*listed, "train: 3 of 2,000 dialogues left out"]
    assert one.counts.unusable == 3 and one.counts.shortened > 0


def test_the_page_has_todays_table():
    assert PAGE.read_text("utf-8") == page(), (
        "run: python -m tests.kosent_hub.models.families --write"
    )
