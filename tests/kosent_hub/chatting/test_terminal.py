"""kosent-chat through a pipe and in a terminal, with tiny models."""

import json
import re
import shutil
import time

import pytest

from tests.kosent_hub.adapters import write_adapter
from tests.kosent_hub.chatting.conftest import TAUGHT
from tests.kosent_hub.conftest import SYSTEM

PROMPT = r"\r\n> "
GREEDY = ("--temperature", "0", "--dtype", "float32")


@pytest.fixture
def talk(run, nobody, tmp_path):
    """`talk(said, MODEL, *options)`: how the command ended that was told this through a pipe."""

    def talk(said: str, *arguments: object):
        command = ["kosent-chat", *map(str, arguments), "--terminal", *GREEDY]
        return run(command, env=nobody, cwd=tmp_path, input=said)

    return talk


def conversations(path):
    return [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]


def test_stdout_has_the_replies_and_nothing_else(families, talk, tmp_path):
    done = talk("안녕\n\n취직했어\n/save a.jsonl\n", families / "qwen3", *TAUGHT)
    assert done.returncode == 0, done.stderr
    system, *turns = conversations(tmp_path / "a.jsonl")[0]
    assert system == {"role": "system", "content": "친절하게."}
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    assert [turn["content"] for turn in turns[::2]] == ["안녕", "취직했어"]
    assert done.stdout.splitlines() == [turn["content"] for turn in turns[1::2]]
    assert done.stdout.splitlines()[0] == "Hello!"  # what the model was taught
    korean, english = "사람이 아니라 인공지능(AI)입니다", "not to a person"
    assert 0 < done.stderr.index(korean) < done.stderr.index(english)
    assert "나가지 않습니다" in done.stderr and "109" not in done.stderr


def test_the_crisis_line_is_above_each_reply_from_the_first_such_turn_on(families, talk):
    done = talk("안녕\n죽고 싶어\n고마워\n/reset\n안녕\n", families / "qwen3")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    for number in ("109", "1577-0199", "112", "119"):
        assert number in done.stderr
    assert done.stderr.count("자살예방상담전화 109") == 3
    assert done.stderr.count("1577-0199 (mental health") == 3


def test_conversations_are_saved_as_the_dataset_has_them(families, talk, tmp_path):
    said = "안녕\n/save a.jsonl\n힘들어\n/save a.jsonl\n/reset\n취직했어\n/save a.jsonl\n/again\n"
    done = talk(said, families / "qwen3", *TAUGHT)
    assert done.returncode == 0, done.stderr
    replies = done.stdout.splitlines()
    (_, *first), (_, *second) = conversations(tmp_path / "a.jsonl")
    assert [turn["content"] for turn in first] == ["안녕", "Hello!", "힘들어", replies[1]]
    assert [turn["content"] for turn in second] == ["취직했어", "Great."]
    assert (replies[0], *replies[2:]) == ("Hello!", "Great.", "Great.")

    (tmp_path / "notes.txt").write_text("내 메모\n")
    done = talk("안녕\n/save notes.txt\n", families / "qwen3", *TAUGHT)
    assert (done.returncode, done.stdout) == (2, "Hello!\n")
    assert done.stderr.splitlines()[-1] == (
        "kosent-chat: notes.txt: holds something else than conversations; name another file"
    )
    assert (tmp_path / "notes.txt").read_text() == "내 메모\n"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("/exit\n", "/exit: no such command; /help lists them"),
        ("/again\n", "/again: nothing was said yet"),
        ("/save\n", "/save: names no file; write /save FILE"),
    ],
)
def test_a_command_that_cannot_be_done_is_a_line(families, talk, said, line):
    done = talk(said, families / "qwen3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"kosent-chat: {line}"


def test_an_adapter_without_its_base_and_a_model_without_a_template_are_lines(
    tiny_llama, talk, tmp_path
):
    write_adapter(tiny_llama, tmp_path / "adapter", std=0.5)
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "kosent/gone"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    done = talk("안녕\n", "adapter")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match("kosent-chat: .*kosent/gone", done.stderr.splitlines()[-1])

    shutil.copytree(tiny_llama, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    done = talk("안녕\n", "base")
    assert done.returncode == 2
    assert "its tokenizer has no chat template" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_conversation_longer_than_the_model_is_a_line(tiny_llama, talk):
    done = talk("길다 " * 2000, tiny_llama)
    assert (done.returncode, done.stdout) == (2, "\n")
    assert "and the model was made for 2,048; begin another one" in done.stderr


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--temperature", "-1"), "--temperature -1.0: must be 0 or more"),
        (("--max-new-tokens", "0"), "--max-new-tokens 0: must be 1 or more"),
        (("--port", "70000"), "--port 70000: must be 0 to 65535"),
        (
            ("--terminal", "--baseline", "b"),
            "--baseline: a terminal has room for one model; leave --terminal out",
        ),
        (
            ("--endpoint", "https://1.1.1.1/v1"),
            "https://1.1.1.1/v1: not on this machine or a private network, so a third party would "
            "get all that is said; use a server of your own, or if you agree to that, add "
            "--i-may-send-this-text https://1.1.1.1/v1",
        ),
    ],
)
def test_flags_that_mean_nothing_are_refused(flags, line, run, nobody):
    done = run(["kosent-chat", "m", *flags], env=nobody)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"kosent-chat: {line}\n")


def test_an_endpoint_that_is_down_is_a_line(talk):
    done = talk("안녕\n", "org/served-only", "--endpoint", "http://127.0.0.1:9/v1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(
        "kosent-chat: http://127.0.0.1:9/v1/chat/completions: "
    )


def test_in_a_terminal_ctrl_c_stops_the_reply_and_ctrl_d_ends(tiny_llama, terminal, tmp_path):
    chat = terminal(tiny_llama, *GREEDY, "--max-new-tokens", "1900")
    assert chat.wait_for("not to a person").index("인공지능(AI)")
    chat.wait_for("/help")
    chat.wait_for(PROMPT)
    chat.type("hello\r")
    chat.wait_for(r"hello\r\n\S{3}")  # the reply begins
    chat.type("\x03")
    chat.wait_for(PROMPT)
    time.sleep(1)  # readline misses a signal between its prompt and its wait for a key
    chat.type("\x03")  # at the prompt it does nothing
    chat.wait_for(PROMPT)
    chat.type("/save a.jsonl\r")
    chat.wait_for("saved: a.jsonl")
    (messages,) = conversations(tmp_path / "a.jsonl")
    assert messages[:2] == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "hello"},
    ]
    assert 0 < len(messages[2]["content"]) < 5000  # far from 1,900 tokens
    chat.wait_for(PROMPT)
    chat.type("/nothing\r")
    chat.wait_for("/nothing: no such command; /help lists them")
    chat.wait_for(PROMPT)
    chat.type("/reset\r")
    chat.wait_for("a new conversation")
    chat.wait_for(PROMPT)
    chat.type("\x04")
    assert chat.end() == 0


def test_in_a_terminal_arrow_keys_bring_back_what_was_typed(families, terminal):
    chat = terminal(families / "qwen3", *GREEDY, *TAUGHT)
    chat.wait_for(PROMPT)
    chat.type("안녕\r")
    chat.wait_for("Hello!")
    chat.wait_for(PROMPT)
    chat.type("/reset\r")
    chat.wait_for(PROMPT)
    chat.type("\x1b[A\x1b[A\r")
    assert "안녕" in chat.wait_for("Hello!")
    chat.wait_for(PROMPT)
    chat.type("\x04")
    assert chat.end() == 0
