"""Models that were copied in part: what is missing is named before anything is loaded."""

import json
import shutil

import pytest

from kosent_hub.models.repos.repo import resolve
from model_card.publishing.errors import KoSentError

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "adapter_model-00001-of-00002.safetensors"]
)
def test_a_pointer_of_git_lfs_is_no_file(name, tmp_path):
    (tmp_path / name).write_text(POINTER, "utf-8")
    with pytest.raises(KoSentError, match=f"{name}: a Git LFS pointer, .*; run git lfs pull in"):
        resolve(str(tmp_path))


def test_a_pointer_to_what_is_not_read_is_left_alone(tmp_path):
    (tmp_path / "consolidated.00.pth").write_text(POINTER, "utf-8")
    assert resolve(str(tmp_path)).local


def test_missing_shards_are_named(tmp_path):
    names = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = {"weight_map": {f"layer.{n}": name for n, name in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (tmp_path / names[0]).touch()
    with pytest.raises(KoSentError, match=r"2 of its 3 files of weights are not there \(model-0"):
        resolve(str(tmp_path))
    for name in names:
        (tmp_path / name).touch()
    assert resolve(str(tmp_path)).local


@pytest.mark.slow
def test_weights_of_other_shapes_are_said_to_be_that(tiny_llama, tmp_path):
    from kosent_hub.models.weights.load import load_causal_model

    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}), "utf-8")
    with pytest.raises(KoSentError, match=r"other shapes than its config\.json says") as refused:
        load_causal_model(str(folder), None, "float32")
    assert "ignore_mismatched_sizes" not in str(refused.value)
