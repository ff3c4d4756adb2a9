"""What both bases share: a GGUF file out of Python packages, and a model folder made from it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import exclusive, explain_full_disk

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader, ReaderTensor

# GGUF's token types: a word of the vocabulary is 1, a byte 6.
CONTROL, USER_DEFINED = 3, 4

# GGUF's names of a layer's weights that llama and gemma3 have in common, and transformers'.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def package_files(package: str, pattern: str) -> list[Path]:
    """The files that match `pattern` in an installed package, which is not imported, by name."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    return [file for place in places for file in sorted(Path(place).glob(pattern))]


def read_gguf(path: Path) -> tuple[GGUFReader, dict[str, Any]]:
    """The GGUF file, opened, and its metadata."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise KoSentError(
            None, "package gguf is missing", "run `pip install 'kosent-hub[demo]'`"
        ) from None
    reader = GGUFReader(path)
    return reader, {name: field.contents() for name, field in reader.fields.items()}


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which becomes `folder` when the block ends.

    What a killed command left of one is removed by the next. Raises KoSentError while another
    command fills it.
    """
    new = folder.with_name(f".{folder.name}.partial")
    with exclusive(folder, "kosent-demo"), explain_full_disk(folder):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def is_there(folder: Path) -> bool:
    """Whether the folder holds a model; raises KoSentError if it holds something else."""
    if (folder / "config.json").exists():
        return True
    if folder.exists() and any(folder.iterdir()):
        raise KoSentError(folder, "exists and is no model", "name another folder or remove it")
    return False


def write_weights(
    reader: GGUFReader,
    layer: Mapping[str, str],
    values: Callable[[ReaderTensor], np.ndarray],
    path: Path,
) -> None:
    """Write all tensors in bfloat16 under transformers' names; `layer` has those of a layer."""
    import torch
    from safetensors.torch import save_file

    weights = {
        _weight_name(tensor.name, layer): torch.tensor(values(tensor)).to(torch.bfloat16)
        for tensor in reader.tensors
    }
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _weight_name(name: str, layer: Mapping[str, str]) -> str:
    """transformers' name of a GGUF tensor: `blk.3.attn_q.weight` is layer 3's query projection."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, number, part, kind = name.split(".")
    return f"model.layers.{number}.{layer[part]}.{kind}"


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file as transformers does."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
