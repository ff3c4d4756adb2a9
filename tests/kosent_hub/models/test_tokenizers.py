"""Tokenizers with a flaw: training and evaluation treat each alike, in one line or rightly."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kosent_hub.conftest import BASE

TRAIN = [
    sys.executable, "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu",
    "--dataset_name", "dataset", "--per_device_train_batch_size", "4", "--max_steps", "1",
    "--dtype", "float32", "--bf16", "false", "--eval_strategy", "no", "--report_to", "none",
]  # fmt: skip
EVAL = [
    "kosent-eval", "--dataset", "dataset", "--limit", "3", "--max-new-tokens", "4",
    "--dtype", "float32", "--no-safety", "--embedder", "none",
]  # fmt: skip


@pytest.fixture
def both(run, workplace: Path, nobody: dict[str, str]) -> Callable:
    """`both(model)`: what training and evaluation of this folder end with."""

    def run_both(model: str):
        ways = (
            [*TRAIN, "--model_name_or_path", model, "--output_dir", f"{model}-run"],
            [*EVAL, "--model", model, "--output", f"{model}-scores"],
        )
        return [run(way, cwd=workplace, env=nobody) for way in ways]

    return run_both


def flawed(workplace: Path, name: str) -> Path:
    """A copy of the tiny model under this name."""
    return Path(shutil.copytree(workplace / BASE, workplace / name))


def tokenizer_of(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def in_config(folder: Path, **settings: object) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def refused(ends, said: str, *remedies: str) -> None:
    """Both commands say this in one line, each with its own remedy."""
    for end, remedy in zip(ends, remedies, strict=True):
        assert end.returncode == 2 and "Traceback" not in end.stderr, end.stderr
        last = end.stderr.splitlines()[-1]
        assert said in last and remedy in last


@pytest.mark.slow
def test_a_padding_token_beyond_the_vocabulary_is_not_used(both, workplace: Path):
    folder = flawed(workplace, "pad-beyond")
    tokenizer = tokenizer_of(folder)
    tokenizer.add_special_tokens({"pad_token": "<beyond>"})
    tokenizer.save_pretrained(folder)
    words = json.loads((folder / "config.json").read_text())["vocab_size"]
    assert tokenizer.pad_token_id >= words
    for end in both("pad-beyond"):
        assert end.returncode == 0, end.stderr
    assert tokenizer_of(workplace / "pad-beyond-run").pad_token_id < words


def test_without_any_padding_token_nothing_begins(both, workplace: Path):
    folder = flawed(workplace, "no-pad")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text("utf-8")
        (folder / name).write_text(text.replace("<|endoftext|>", "<|first|>"), "utf-8")
    tokenizer = tokenizer_of(folder)
    tokenizer.add_special_tokens({"pad_token": "<p>", "eos_token": "<e>", "unk_token": "<u>"})
    tokenizer.save_pretrained(folder)
    remedy = "save its tokenizer with another pad_token"
    refused(both("no-pad"), "no padding token among the 1,000 ids that the model", remedy, remedy)
    assert not (workplace / "no-pad-run").exists()


@pytest.mark.parametrize("form", ["folder", "list"])
def test_named_templates_without_a_default_are_one_line(both, workplace: Path, form: str):
    folder = flawed(workplace, f"named-{form}")
    written = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    if form == "folder":
        tokenizer = tokenizer_of(folder)
        tokenizer.chat_template = {"tool_use": written, "rag": written}
        tokenizer.save_pretrained(folder)
        assert (folder / "additional_chat_templates" / "rag.jinja").is_file()
    else:
        named = [{"name": name, "template": written} for name in ("tool_use", "rag")]
        in_config(folder, chat_template=named)
    refused(
        both(folder.name),
        "chat templates are named rag, tool_use, and none is the default",
        "give it a template with --chat_template_path FILE",
        "give it a template with --chat-template FILE",
    )


def test_of_named_templates_the_default_is_used(both, workplace: Path):
    folder = flawed(workplace, "named-default")
    tokenizer = tokenizer_of(folder)
    tokenizer.chat_template = {"default": tokenizer.chat_template, "rag": "{{ 1 / 0 }}"}
    tokenizer.save_pretrained(folder)
    for end in both("named-default"):
        assert end.returncode == 0, end.stderr


def test_without_a_template_each_command_names_its_own_flag(both, workplace: Path):
    (flawed(workplace, "bare") / "chat_template.jinja").unlink()
    refused(
        both("bare"),
        "bare: its tokenizer has no chat template; use the Instruct (or chat) version",
        "or give it a template with --chat_template_path FILE",
        "or give it a template with --chat-template FILE",
    )


def test_the_beginning_of_text_twice_is_said_once_by_both(both, workplace: Path):
    folder = flawed(workplace, "bos-twice")
    tokenizer = tokenizer_of(folder)
    file = folder / "chat_template.jinja"
    assert file.read_text().count(tokenizer.bos_token)
    file.write_text(tokenizer.bos_token + "{{ bos_token }}" + file.read_text())
    for end in both("bos-twice"):
        assert end.returncode == 0, end.stderr
        assert end.stderr.count("writes the beginning-of-text token twice") == 1
