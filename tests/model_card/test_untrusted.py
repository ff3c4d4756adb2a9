"""Untrusted repos: records and cards made to do harm are refused in one line each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.model_card.cards import RECORDS

# All of them in one process: starting one takes longer than reading a card.
COMMANDS = """
import io, json, sys, time
from contextlib import redirect_stderr, redirect_stdout
from model_card.cli import main
ends = []
for arguments in json.load(sys.stdin):
    said, began = io.StringIO(), time.process_time()
    with redirect_stdout(said), redirect_stderr(said):
        status = main(arguments)
    # Not getrusage: that begins with what the process that started this one had.
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
    ends.append([status, said.getvalue(), time.process_time() - began, peak])
print(json.dumps(ends))
"""
MIB = 1 << 20
RUN = json.loads((RECORDS / "adapter" / "kosent" / "run.json").read_text("utf-8"))
NAMES = [f"a{i}" for i in range(12)]
LAUGHS = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
    for before, name in zip(["x", *NAMES], NAMES, strict=False)
)
INDENTED = "".join(" " * depth + "a:\n" for depth in range(600))

# The file, its content, and what is said of it.
BAD: dict[str, tuple[str, bytes, str]] = {
    "lists in lists": ("kosent/run.json", b"[" * 100_000, "kosent/run.json: not JSON"),
    "no object": ("kosent/run.json", b"[]", "schema_version None"),
    "nothing": ("kosent/run.json", b"", "kosent/run.json: not JSON"),
    "another schema": ("kosent/run.json", b'{"schema_version": 99}', "schema_version 99"),
    "a field too many": (
        "kosent/run.json",
        json.dumps(RUN | {"__class__": "os"}).encode(),
        "unknown field '__class__'",
    ),
    "a list for a text": (
        "kosent/run.json",
        json.dumps(RUN | {"recipe": ["a"]}).encode(),
        "recipe: expected str",
    ),
    "a number without end": (
        "kosent/run.json",
        b'{"schema_version": ' + b"1" * 10_000 + b"}",
        "kosent/run.json: not JSON",
    ),
    "20 MiB": ("kosent/run.json", b" " * 20 * MIB, "no card, record or picture has over 16"),
    "scores in lists": ("kosent/eval/a--test.json", b"[" * 100_000, "a--test.json: not JSON"),
    "scores that are a number": ("kosent/eval/a--test.json", b"7", "schema_version None"),
    "talk in lists": ("kosent/conversations.json", b"[" * 100_000, "conversations.json: not JSON"),
    "talk of others": ("kosent/conversations.json", b"[[[]]]", "expected an object with prompt"),
    "a log in lists": ("kosent/log_history.jsonl", b"[" * 100_000, "line 1: not JSON"),
    "ten in ten in ten": ("README.md", f"---\nx: &x [a]\n{LAUGHS}\n---\n".encode(), "aliases"),
    "an object": (
        "README.md",
        b"---\na: !!python/object/apply:os.system ['touch canary']\n---\n",
        "could not determine a constructor",
    ),
    "metadata in lists": ("README.md", b"---\na: " + b"[" * 20_000 + b"\n---\n", "metadata"),
    "mappings in mappings": (
        "README.md",
        f"---\n{INDENTED}\n---\n".encode(),
        "nested too deeply",
    ),
    "metadata that is text": ("README.md", b"---\nwords\n---\n", "metadata is not a list"),
    "a card of 20 MiB": ("README.md", b"a" * 20 * MIB, "has over 16"),
}


def test_untrusted_records_and_cards_are_refused(hub, run, tmp_path):
    good = {"kosent/run.json": (RECORDS / "adapter" / "kosent" / "run.json").read_bytes()}
    commands = []
    for name, (path, content, _) in BAD.items():
        repo = f"alice/{name.replace(' ', '-')}"
        if path == "README.md" and len(content) < MIB:
            # The test Hub would parse this metadata too, with fewer precautions.
            for place, data in (good | {path: content}).items():
                (tmp_path / repo / place).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / repo / place).write_bytes(data)
        else:
            hub.create(repo, files=good | {path: content})
        commands += [["render", repo], ["check", repo]]
    env = hub.env("bob")
    given = json.dumps(commands)
    done = run([sys.executable, "-c", COMMANDS], env=env, input=given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    wrong = []
    for (what, repo), (status, said, seconds, _) in zip(commands, ends, strict=True):
        expected = BAD[repo.removeprefix("alice/").replace("-", " ")][2]
        last = said.splitlines()[-1]
        if status != 2 or "Traceback" in said or not last.startswith("kosent-card: "):
            wrong.append(f"{what} {repo}: {status} {said[-2000:]}")
        elif what == "render" and expected not in last:
            wrong.append(f"{what} {repo}: {last[-300:]}")
        assert seconds < 30, repo
    assert not wrong, "\n".join(wrong)
    assert ends[-1][3] < 500 * MIB
    assert not Path(tmp_path / "canary").exists()
