"""Repos made to harm whoever evaluates them: each is refused in one line, and runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import pytest

from tests.kosent_hub.dialogues import write_dataset

MIB = 1 << 20
# An evaluation of the tiny model takes about 900 MiB, all of it libraries, and a template may take
# a GiB more. Seconds are the processor's.
MOST_MEMORY, MOST_SECONDS = 2500 * MIB, 60

# All of them in one process, whose memory and time are looked at.
COMMANDS = """
import io, json, sys, time
from contextlib import redirect_stderr, redirect_stdout
from kosent_hub.evaluate import main
quick = ["--embedder", "none", "--max-new-tokens", "2", "--no-safety"]
ends = []
for model, dataset in json.load(sys.stdin):
    err, began = io.StringIO(), time.process_time()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        status = main(["--model", model, "--dataset", dataset, *quick])
    end = {"status": status, "err": err.getvalue(), "seconds": time.process_time() - began}
    # Not getrusage: that begins with what the process that started this one had.
    end["peak"] = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
    ends.append(end)
print(json.dumps(ends))
"""


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def names(base: str | None = "alice/whole", **more) -> dict[str, bytes]:
    """An adapter's files, its weights left out, with these settings."""
    settings = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 2, **more}
    settings = {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | settings
    return {
        "adapter_config.json": json.dumps(settings).encode(),
        "adapter_model.safetensors": b"not one",
    }


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
ENDS = "{% endfor %}" * 3
DOUBLED = (
    "{% set n = namespace(t='aaaaaaaa') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}"
    "{% endfor %}{{ n.t }}"
)

TEMPLATES = {
    "loops for ever": (LOOP + ENDS, "more than 10 seconds"),
    "grows without end": (DOUBLED, "writes without end (MemoryError)"),
    "writes much": (
        "{% for i in range(99999) %}" + "a" * 99 + "{% endfor %}",
        "characters for one dialogue",
    ),
    "calls itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "writes without end"),
    "raises to powers": ("{{ 10 ** 10 ** 8 }}", "raises numbers to powers"),
    "repeats": ("{{ 'a' * 99999999999 }}", "has the number 99999999999"),
    "counts far": ("{% for i in range(0x7fffffff) %}{% endfor %}", "has the number 0x7fffffff"),
    "reaches for Python": (
        "{{ cycler.__init__.__globals__.os.system('touch canary') }}",
        "is unsafe",
    ),
    "reaches through a message": (
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "is unsafe",
    ),
    "formats its way out": ("{{ '{0.__class__}'.format(messages) }}", "writes nothing"),
    "opens a file": ("{{ open('/etc/hostname').read() }}", "'open' is undefined"),
    "includes a file": ("{% include '/etc/hostname' %}", "no loader"),
    "is no template": ("{% for %}", "chat template"),
    "divides by zero": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "is too long": ("{# " + "a" * 2 * MIB + " #}", "no model's has over 1"),
}

CONFIGS: dict[str, tuple[object, str]] = {
    "no object": ([1, 2], "cannot be loaded"),
    "words for numbers": ({"num_hidden_layers": "many"}, "cannot be loaded"),
    "a billion layers": ({"num_hidden_layers": 10**9}, "a model of 1,000,000,000 layers"),
    "layers of a million": ({"hidden_size": 10**6}, "at least"),
    "all words there are": ({"vocab_size": 10**12}, "at least"),
    "no such build": ({"model_type": "no-such"}, "cannot be loaded"),
    "a negative size": ({"hidden_size": -64}, "cannot be loaded"),
}

ADAPTERS: dict[str, tuple[dict[str, bytes], str]] = {
    "a root folder": (names("/etc"), "which is no Hub id"),
    "a folder above": (names("../.."), "which is no Hub id"),
    "this folder": (names("."), "which is no Hub id"),
    "an address": (names("https://example.com/a"), "which is no Hub id"),
    "no base": (names(None), "names no base model"),
    "a base that is missing": (names("alice/nothing"), "no such repository"),
    "a base with code": (names("alice/own-code"), "allow it with --trust-remote-code"),
    "a base of pickles": (names("alice/pickled"), "has no safetensors weights"),
    "a revision of another kind": (names(revision=7), "revision is 7"),
    "a revision that is missing": (names(revision="../../main"), "no such revision"),
    "another kind of adapter": (
        names(peft_type="MULTITASK_PROMPT_TUNING", prompt_tuning_init_state_dict_path="x.bin"),
        "peft_type is 'MULTITASK_PROMPT_TUNING'",
    ),
    "another task": (names(task_type="SEQ_CLS"), "task_type is 'SEQ_CLS'"),
    "a module to import": (
        names(megatron_core="antigravity", megatron_config={"a": 1}),
        "megatron_",
    ),
    "layers in copies": (names(layer_replication=[[0, 10**9]]), "layer_replication is"),
    "an initialisation with data": (names(init_lora_weights="eva"), "init_lora_weights is"),
    "an initialisation without end": (
        names(init_lora_weights="pissa_niter_1000000000"),
        "init_lora_weights is",
    ),
    "a file to read": (names(corda_config={"cache_file": "/etc/hostname"}), "corda_config is"),
    "a runtime": (names(runtime_config={"ephemeral_gpu_offload": True}), "cannot be loaded"),
    "a rank of a billion": (names(r=10**9), "r is '1000000000'"),
    "a rank pattern of a billion": (names(rank_pattern={"q": 10**9}), "rank_pattern is"),
    "names matched for ever": (names(target_modules="(([a-z_.0-9]+)+)+!"), "target_modules is"),
    "names matched long": (names(exclude_modules=".*" * 40 + "!"), "exclude_modules is"),
    "names that are numbers": (names(target_modules=7), "target_modules is"),
    "weights that are none": (names(), "cannot be loaded"),
    "no settings": ({"adapter_config.json": b"[]"}, "holds no settings"),
    "lists in lists": ({"adapter_config.json": b"[" * 100_000}, "not JSON"),
}


def sparse(path: Path, size: int) -> Path:
    path.write_bytes(b"{")
    os.truncate(path, size)
    return path


@pytest.fixture
def untrusted_repos(hub, tiny_llama, tmp_path) -> dict[str, str]:
    """The repos, on the Hub, and what is said of each."""
    whole = {path.name: path for path in tiny_llama.iterdir() if path.is_file()}
    config = json.loads((tiny_llama / "config.json").read_text("utf-8"))
    canary = tmp_path / "canary"
    pickled = pickle.dumps(Canary(canary))
    code = f"open({str(canary)!r}, 'w')\nclass Own: pass\n".encode()
    expected: dict[str, str] = {}

    def put(name: str, files: dict, said: str) -> None:
        repo = f"alice/{name.replace(' ', '-')}"
        hub.create(repo, files=files)
        expected[repo] = said

    def without(name: str) -> dict:
        return {path: file for path, file in whole.items() if path != name}

    hub.create("alice/whole", files=whole)
    put("pickled", without("model.safetensors") | {"pytorch_model.bin": pickled}, "safetensors")
    put(
        "pickled adapter",
        {**names(), "adapter_model.bin": pickled, "adapter_model.safetensors": None},
        "has no adapter_model.safetensors",
    )
    own = json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}).encode()
    put("own code", whole | {"config.json": own, "own.py": code}, "--trust-remote-code")
    tokens = json.dumps(
        {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    ).encode()
    put(
        "own tokenizer",
        without("tokenizer.json") | {"tokenizer_config.json": tokens, "own.py": code},
        "alice/own-tokenizer: ",
    )
    large = sparse(tmp_path / "large", 200 * MIB)
    for name in ("config.json", "tokenizer_config.json", "chat_template.jinja"):
        put(f"large {name}", whole | {name: large}, f"{name}: 200 MiB")
    put("deep config", whole | {"config.json": b'{"a":' * 100_000}, "cannot be loaded")
    put("outside", whole | {"../../x.json": b"{}"}, "outside of the repo")
    put("absolute", whole | {"/etc/x.json": b"{}"}, "outside of the repo")
    index = json.dumps({"metadata": {}, "weight_map": {"a": "../../../x.safetensors"}}).encode()
    put(
        "index outside",
        without("model.safetensors") | {"model.safetensors.index.json": index},
        "alice/index-outside: ",
    )
    for name, (change, said) in CONFIGS.items():
        changed = config | change if isinstance(change, dict) else change
        put(f"config {name}", whole | {"config.json": json.dumps(changed).encode()}, said)
    for name, (template, said) in TEMPLATES.items():
        put(f"template {name}", whole | {"chat_template.jinja": template.encode()}, said)
    for name, (files, said) in ADAPTERS.items():
        put(f"adapter {name}", files, said)
    return expected


@pytest.mark.slow
def test_untrusted_repos_on_the_hub(hub, run, untrusted_repos, tmp_path):
    data = write_dataset(tmp_path / "chat", 1)
    secret = tmp_path / "secret.parquet"
    secret.write_bytes(next(data.rglob("*.parquet")).read_bytes())
    card = {"configs": [{"config_name": "default", "data_files": str(secret)}]}
    hub.create("alice/evil", "dataset", files={"README.md": f"---\n{json.dumps(card)}\n---\n"})
    asked = [[model, str(data)] for model in untrusted_repos] + [["alice/whole", "alice/evil"]]
    expected = {**untrusted_repos, "alice/whole": "Data files don't belong to alice/evil"}

    done = run(
        [sys.executable, "-c", COMMANDS],
        env=hub.env("bob"),
        input=json.dumps(asked),
        cwd=tmp_path,
        timeout=900,
        script=True,
    )
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    wrong = []
    for (model, said), end in zip(expected.items(), ends, strict=True):
        last = (end["err"].splitlines() or [""])[-1]
        one_line = last.startswith("kosent-eval: ") and "Traceback" not in end["err"]
        if end["status"] != 2 or not one_line or said not in last:
            wrong.append((model, said, end))
        elif end["seconds"] > MOST_SECONDS:
            wrong.append((model, "too long", end))
    assert not wrong, "\n".join(f"{m}, {s!r}: {e['status']} {e['err']}" for m, s, e in wrong)
    assert ends[-1]["peak"] < MOST_MEMORY
    assert not (tmp_path / "canary").exists()
