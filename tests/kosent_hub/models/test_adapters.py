"""Adapters of other people's making: loaded as peft loads them, or one line that says what to do.

All of this is slow: each case loads a tiny model.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from model_card.publishing.errors import KoSentError

pytestmark = pytest.mark.slow


def write(base: Path, folder: Path, words: int = 0, **settings) -> Path:
    """An adapter of `base`, whose vocabulary it makes larger by `words` tokens."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    if words:
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.add_special_tokens(
            {"additional_special_tokens": [f"<|mark {n}|>" for n in range(words)]}
        )
        model.resize_token_embeddings(len(tokenizer))
        tokenizer.save_pretrained(folder)
    given = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    tuned = get_peft_model(model, LoraConfig(**given | settings))
    for name, weight in tuned.named_parameters():
        if any(part in name for part in ("lora_B", "modules_to_save", "trainable_tokens_delta")):
            weight.data += 0.3 * torch.randn_like(weight)
    tuned.save_pretrained(folder)
    return folder


def rewrite(folder: Path, change) -> None:
    """Pass the adapter's weights, by name, through `change`."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)


def set_base(folder: Path, base: str | Path) -> None:
    file = folder / "adapter_config.json"
    settings = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(settings | {"base_model_name_or_path": str(base)}), "utf-8")


def loaded(folder: Path):
    from kosent_hub.models.locate import ModelRef, locate
    from kosent_hub.models.weights.load import load_model

    return load_model(locate(ModelRef(str(folder), dtype="float32")))


def assert_as_peft(folder: Path) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM

    ids = torch.arange(3, 60)[None]
    found = loaded(folder).model(input_ids=ids).logits
    model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(found, model(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {},
        {"trainable_token_indices": {"embed_tokens": [1000, 1001, 1002]}},
    ],
    ids=["copies", "embeddings saved", "single tokens"],
)
def test_a_vocabulary_that_grew_is_as_large_as_the_adapters(settings, tiny_llama, tmp_path, capsys):
    assert_as_peft(write(tiny_llama, tmp_path / "tuned", words=3, **settings))
    assert "fit no layer" not in capsys.readouterr().err


def test_an_adapter_with_biases_stays_beside_weights_without(tiny_llama, tmp_path, capsys):
    assert_as_peft(write(tiny_llama, tmp_path / "tuned", lora_bias=True))
    assert "tuned: adapter not merged: Impossible to merge" in capsys.readouterr().err


def test_an_adapter_beside_a_whole_model_is_what_is_loaded(tiny_llama, tmp_path):
    both = shutil.copytree(tiny_llama, tmp_path / "both")
    assert_as_peft(write(tiny_llama, both))


def renamed(weights):
    return {
        name if ".0." in name else name.replace("model.layers", "model.text.layers"): weight
        for name, weight in weights.items()
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: {n: v for n, v in w.items() if ".0." in n}, "4 of the 8 weights .* and 0 that"),
        (renamed, "4 of the 8 weights .* and 4 that are there fit no layer"),
    ],
    ids=["missing", "renamed"],
)
def test_weights_that_fit_half_are_refused_with_their_numbers(change, said, tiny_llama, tmp_path):
    rewrite(write(tiny_llama, tmp_path / "tuned"), change)
    with pytest.raises(KoSentError, match=said):
        loaded(tmp_path / "tuned")


def test_whole_copies_that_are_not_there_are_missed(tiny_llama, tmp_path):
    folder = write(tiny_llama, tmp_path / "tuned", modules_to_save=["lm_head"])
    rewrite(folder, lambda w: {name: v for name, v in w.items() if "lm_head" not in name})
    with pytest.raises(KoSentError, match="says that it has lm_head whole"):
        loaded(folder)


def test_weights_of_layers_that_are_not_there_are_counted(tiny_llama, tmp_path, capsys):
    folder = write(tiny_llama, tmp_path / "tuned")
    rewrite(
        folder,
        lambda w: w | {n.replace(".1.", ".2."): v.clone() for n, v in w.items() if ".1." in n},
    )
    assert loaded(folder).unused == 4
    assert "tuned: 4 of its 12 weights fit no layer of" in capsys.readouterr().err


def pickled(base: Path, folder: Path) -> str:
    write(base, folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    return "pickled weights can run anything"


def in_parts(base: Path, folder: Path) -> str:
    write(base, folder)
    (folder / "adapter_model.safetensors").rename(
        folder / "adapter_model-00001-of-00001.safetensors"
    )
    (folder / "adapter_model.safetensors.index.json").write_text("{}", "utf-8")
    return "in several files, which peft does not read; join them there: python -c"


def leftover(base: Path, folder: Path) -> str:
    write(base, folder)
    (folder / "adapter_model.safetensors").unlink()
    shutil.copytree(base, folder, dirs_exist_ok=True)
    return "a whole model beside an adapter_config.json"


def without_weights(base: Path, folder: Path) -> str:
    write(base, folder)
    (folder / "adapter_model.safetensors").unlink()
    return "but no adapter_model.safetensors; copy or upload the adapter whole"


def of_an_adapter(base: Path, folder: Path) -> str:
    write(base, folder.parent / "first")
    set_base(write(base, folder), folder.parent / "first")
    return rf"first, is itself an adapter of {base}; merge that one first"


def of_nothing(base: Path, folder: Path) -> str:
    set_base(write(base, folder), "/home/student/llama-3.1-8b")
    return (
        r"adapter_config\.json: names the base model /home/student/llama-3\.1-8b: no such folder.*"
        "as base_model_name_or_path there"
    )


def of_windows(base: Path, folder: Path) -> str:
    set_base(write(base, folder), r"C:\Users\me\llama3")
    return r"adapter_config\.json: names the base model C:.*as base_model_name_or_path there"


def inside(base: Path, folder: Path) -> str:
    for name in ("checkpoint-8", "checkpoint-16"):
        write(base, folder / name)
    return rf"not at its top, but in checkpoint-8, checkpoint-16; name {folder}/checkpoint-16"


@pytest.mark.parametrize(
    "make",
    [
        *(pickled, in_parts, leftover, without_weights, of_an_adapter, of_nothing, of_windows),
        inside,
    ],
    ids=lambda make: make.__name__,
)
def test_what_cannot_be_loaded_is_one_line(make, tiny_llama, tmp_path):
    said = make(tiny_llama, tmp_path / "tuned")
    with pytest.raises(KoSentError, match=said):
        loaded(tmp_path / "tuned")


def test_parts_joined_as_the_line_says_are_loaded(run, tiny_llama, tmp_path):
    in_parts(tiny_llama, tmp_path / "tuned")
    with pytest.raises(KoSentError) as refused:
        loaded(tmp_path / "tuned")
    script = refused.value.remedy.partition('"')[2].rstrip('"')
    done = run([sys.executable, "-c", script], cwd=tmp_path / "tuned", script=True)
    assert done.returncode == 0, done.stderr
    assert_as_peft(tmp_path / "tuned")


def test_training_on_an_adapter_names_its_base(run, nobody, workplace, tiny_llama, tmp_path):
    shutil.copytree(workplace / "dataset", tmp_path / "dataset")
    write(tiny_llama, tmp_path / "tuned")
    train = [sys.executable, "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu"]
    flags = ["--model_name_or_path", "tuned", "--dataset_name", "dataset", "--output_dir", "run"]
    done = run([*train, *flags], cwd=tmp_path, env=nobody)
    assert done.returncode == 2
    assert f"tuned: an adapter, not a base model; name its base ({tiny_llama})" in done.stderr
    assert not (tmp_path / "run").exists()
