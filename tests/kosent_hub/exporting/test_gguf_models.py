"""A GGUF file as a model of kosent-chat and kosent-eval: a file here, and in a repo of the Hub."""

import hashlib
import json
from pathlib import Path

import pytest

from kosent_hub.demo_models.gguf_files import read_gguf
from tests.kosent_hub import dialogues
from tests.kosent_hub.demo_models import tiny_gemma3
from tests.kosent_hub.models.families import TEMPLATES

REPO, FILE = "kosent/tiny-GGUF", "tiny.gguf"
CHAT = "--terminal --temperature 0 --max-new-tokens 8"


@pytest.mark.slow
def test_a_file_and_a_repo_with_it_are_one_model(run, hub, tmp_path: Path):
    gguf = tmp_path / FILE
    tiny_gemma3.write_gguf(gguf, (TEMPLATES / "refuses_system.jinja").read_text("utf-8"))
    hub.create(REPO, files={FILE: gguf, "README.md": "---\nlicense: apache-2.0\n---\n"})
    dialogues.write_dataset(tmp_path / "chat", 2)
    env = hub.env() | {"OMP_NUM_THREADS": "1"}

    def reply(model: str, env: dict[str, str]) -> str:
        command = ["kosent-chat", model, *CHAT.split()]
        done = run(command, cwd=tmp_path, env=env, input="힘들어요\n")
        assert done.returncode == 0, done.stderr
        return done.stdout

    here = reply(FILE, env)
    assert here.strip()
    assert reply(REPO, env) == here
    assert reply(REPO, env | {"HF_HUB_OFFLINE": "1"}) == here

    flags = "--dataset chat --embedder none --max-new-tokens 4 --no-safety --json"
    found = {}
    for model in (FILE, REPO):
        done = run(["kosent-eval", "--model", model, *flags.split()], cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        found[model] = json.loads(done.stdout)
    mine, theirs = found[FILE], found[REPO]
    assert mine["metrics"] == theirs["metrics"]
    assert (mine["model"]["id"], mine["model"]["local"]) == (FILE, True)
    assert mine["model"]["weights_sha256"].keys() == {FILE}
    assert (theirs["model"]["id"], theirs["model"]["revision"]) == (REPO, hub.head(REPO))
    # Of the file alone: chat template, and tokens that begin and end.
    written = read_gguf(gguf).fields
    template = hashlib.sha256(written["tokenizer.chat_template"].encode()).hexdigest()
    vocabulary = written["tokenizer.ggml.tokens"]
    for results in found.values():
        assert results["protocol"]["template_sha256"] == template
        tokenizer = results["model"]["tokenizer"]
        for name in ("bos", "eos"):
            assert (
                tokenizer[f"{name}_token"] == vocabulary[written[f"tokenizer.ggml.{name}_token_id"]]
            )
        assert tokenizer["vocabulary"] == len(vocabulary)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            ["a-f16.gguf", "b-q8_0.gguf"],
            "holds 2 GGUF files (a-f16.gguf, b-q8_0.gguf); fetch one with `hf download "
            f"{REPO} a-f16.gguf --local-dir .`, and name that file",
        ),
        (["a.gguf"], "is no GGUF file; copy or download it again"),
    ],
)
def test_a_repo_that_is_not_one_gguf_file(run, hub, tmp_path: Path, files: list[str], said: str):
    hub.create(REPO, files=dict.fromkeys(files, b"GGML"))
    done = run(["kosent-chat", REPO, *CHAT.split()], cwd=tmp_path, env=hub.env(), input="")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"kosent-chat: {REPO}: {said}"
