"""What both bases share: a GGUF file out of Python packages, and a model folder made from it."""

from __future__ import annotations

import importlib.util
import json
import math
import mmap
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import exclusive, explain_full_disk

if TYPE_CHECKING:
    import numpy as np

# GGUF's token types: a word of the vocabulary is 1, a byte 6.
CONTROL, USER_DEFINED = 3, 4

# GGUF's types of values, and those of numbers as `struct` names them.
_TEXT, _ARRAY = 8, 9
_NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))

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


@dataclass(frozen=True)
class Gguf:
    """A GGUF file: its metadata, and its tensors by name, each with shape, type and place."""

    fields: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], int, int]]
    data: mmap.mmap

    def values(self, name: str) -> np.ndarray:
        """The values of a tensor in float32, of transformers' shape (out, in)."""
        import numpy as np
        from gguf import GGMLQuantizationType, dequantize
        from gguf.quants import quant_shape_to_byte_shape

        shape, kind, begin = self.tensors[name]
        stored = GGMLQuantizationType(kind)
        sizes = quant_shape_to_byte_shape(shape, stored)
        data = np.frombuffer(self.data, np.uint8, math.prod(sizes), begin)
        # The library goes through sixteen rows at a time: fewer and longer ones take half the time.
        joined = math.gcd(math.prod(sizes[:-1]), 64)
        return dequantize(data.reshape(-1, joined * sizes[-1]), stored).reshape(shape)


def read_gguf(path: Path) -> Gguf:
    """The GGUF file at `path`, in version 3 (https://github.com/ggml-org/ggml, docs/gguf.md).

    gguf's own reader takes half a minute for a vocabulary of 262,144 tokens.
    """
    if importlib.util.find_spec("gguf") is None:
        raise KoSentError(None, "package gguf is missing", "run `pip install 'kosent-hub[demo]'`")
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head = _Head(data)
    _magic, _version, tensors, fields = head.numbers("IIQQ")
    metadata = {head.text(): head.value(*head.numbers("I")) for _ in range(fields)}
    found = {}
    for _ in range(tensors):
        name = head.text()
        (dimensions,) = head.numbers("I")
        *shape, kind, offset = head.numbers(f"{dimensions}QIQ")
        found[name] = (tuple(reversed(shape)), kind, offset)
    step = metadata.get("general.alignment", 32)
    begin = -(-head.at // step) * step
    return Gguf(metadata, {n: (s, kind, begin + at) for n, (s, kind, at) in found.items()}, data)


class _Head:
    """The head of a GGUF file, read from its beginning: little-endian, without padding."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def numbers(self, codes: str) -> tuple[Any, ...]:
        """The next numbers, of the types that `struct` has these codes for."""
        found = struct.unpack_from(f"<{codes}", self.data, self.at)
        self.at += struct.calcsize(f"<{codes}")
        return found

    def text(self) -> str:
        """The next text."""
        (size,) = self.numbers("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        """The next value, of GGUF's type `kind`."""
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            return self.numbers(_NUMBERS[kind])[0]
        kind, size = self.numbers("IQ")
        if kind in _NUMBERS:
            return list(self.numbers(f"{size}{_NUMBERS[kind]}"))
        return [self.value(kind) for _ in range(size)]


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
    gguf: Gguf,
    layer: Mapping[str, str],
    convert: Callable[[str, np.ndarray], np.ndarray],
    path: Path,
) -> None:
    """Write all tensors in bfloat16 under transformers' names; `layer` has those of a layer.

    `convert` gets a tensor's name in the GGUF and its values there, and returns transformers'.
    """
    import torch
    from safetensors.torch import save_file

    weights = {
        _weight_name(name, layer): torch.tensor(convert(name, gguf.values(name))).bfloat16()
        for name in gguf.tensors
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
