"""Code for "Try it", ready to be pasted and run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection

from model_card.facts import ADAPTER, QUANTIZED
from model_card.publishing.hub_ids import is_hub_id
from model_card.publishing.markdown import Markdown, fenced
from model_card.records import Run

GREETING = "오늘 면접에서 떨어졌어요. 열심히 준비했는데 너무 속상해요."
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def gguf_file(paths: Collection[str]) -> str | None:
    """The GGUF file among a repo's files, the first of several; None if there is none."""
    return min((path for path in paths if path.endswith(".gguf")), default=None)


def install(relation: str, gguf: str | None = None) -> Markdown:
    """The command that installs what the snippet needs, for a GGUF file if that is named."""
    extra = {ADAPTER: " peft", QUANTIZED: " bitsandbytes"}.get(relation, "")
    extra = extra if gguf is None else " gguf"
    return fenced(f"pip install -U transformers accelerate{extra}", "bash")


def snippet(
    relation: str, model_id: str, run: Run, system_prompt: str | None, gguf: str | None = None
) -> Markdown:
    """Python that loads the model, its file `gguf` if that is named, and prints a reply."""
    loader, library = "AutoModelForCausalLM", "transformers"
    if relation == ADAPTER:
        loader, library = "AutoPeftModelForCausalLM", "peft"
    imports = sorted([f"from {library} import {loader}", "from transformers import AutoTokenizer"])
    if library == "transformers":
        imports = [f"from transformers import {loader}, AutoTokenizer"]
    lines = [*imports, "", f"model_id = {_literal(model_id)}"]
    lines += [] if gguf is None else [f"file = {_literal(gguf)}"]
    which = "model_id" if gguf is None else "model_id, gguf_file=file"
    lines += [
        f"tokenizer = AutoTokenizer.from_pretrained({which})",
        f'model = {loader}.from_pretrained({which}, dtype="auto", device_map="auto")',
        "",
        "messages = [",
    ]
    greeting = GREETING
    if system_prompt and run.chat_format.get("system") == "folded":
        greeting = f"{system_prompt}\n\n{greeting}"  # as in training: the template has no such role
    elif system_prompt:
        lines.append(f'    {{"role": "system", "content": {_literal(system_prompt)}}},')
    lines += [
        f'    {{"role": "user", "content": {_literal(greeting)}}},',
        "]",
        "inputs = tokenizer.apply_chat_template(",
        "    messages,",
        "    add_generation_prompt=True,",
        "    return_dict=True,",
        '    return_tensors="pt",',
        *[f"    {name}={value}," for name, value in _keywords(run)],
        ").to(model.device)",
        "output = model.generate(**inputs, max_new_tokens=128, do_sample=False)",
        'reply = output[0, inputs["input_ids"].shape[1] :]',
        "print(tokenizer.decode(reply, skip_special_tokens=True))",
    ]
    return fenced("\n".join(lines), "python")


def vllm_rank(rank: object) -> int | None:
    """The smallest `max_lora_rank` of vLLM that an adapter of this rank fits; None without one."""
    if not isinstance(rank, int):
        return None
    return next((step for step in VLLM_RANKS if step >= rank), None)


def vllm(relation: str, repo_id: str | None, run: Run, gguf: str | None = None) -> Markdown | None:
    """The command that serves the model with vLLM; None if an id that it needs is not known, and
    for a GGUF file."""
    base = run.base_model.id
    if gguf is not None:
        return None
    if repo_id is None or not is_hub_id(repo_id) or not is_hub_id(base):
        return None
    if relation != ADAPTER:
        return fenced(f"vllm serve {repo_id}", "bash")
    rank = vllm_rank(run.config.get("lora_r"))
    if rank is None:
        return None
    name = repo_id.split("/")[-1]
    return fenced(
        f"vllm serve {base} --enable-lora --max-lora-rank {rank} \\\n"
        f"  --lora-modules {name}={repo_id}",
        "bash",
    )


def llama_cpp(paths: Collection[str], repo_id: str | None) -> Markdown | None:
    """The command for llama.cpp, if there are files for it."""
    if repo_id is None or gguf_file(paths) is None:
        return None
    return fenced(f"llama-cli -hf {repo_id}", "bash")


def wrapped(command: str) -> str:
    """The command with one option per line, if it is the same command for a shell."""
    lines = re.sub(r" (?=--\w)", " \\\\\n  ", command)
    try:
        same = shlex.split(lines.replace("\\\n", "")) == shlex.split(command)
    except ValueError:
        return command
    return lines if same and len(command) > 80 else command


def _keywords(run: Run) -> list[tuple[str, str]]:
    """The chat template's arguments in training, as far as Python keyword arguments can be."""
    return [
        (name, _literal(value) if isinstance(value, str) else repr(value))
        for name, value in run.template_kwargs.items()
        if name.isidentifier() and isinstance(value, bool | int | float | str)
    ]


def _literal(text: str) -> str:
    """A Python string literal in double quotes, Hangul as it is."""
    return json.dumps(text, ensure_ascii=False)
