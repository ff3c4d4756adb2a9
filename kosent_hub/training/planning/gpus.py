"""NVIDIA's GPUs by the names of nvidia-smi, and what a plan needs to know of them.

Dense 16-bit tensor TFLOP/s with 32-bit sums (without sparsity; on a GeForce, half of those with
16-bit sums), memory bandwidth, and the board's own link to another GPU in one direction: NVLink of
SXM boards, else PCI Express. A bridge, which joins two boards and is bought apart, is not counted.
GiB are what PyTorch sees of the memory.

The figures were written from memory and then, in 2026, compared as follows.

- All rows but GH200: bandwidth, PCI Express and compute capability with TechPowerUp's GPU Database
  (a copy of it); TFLOP/s with its tensor cores x boost clock x the architecture's rate. They agree
  within 2 % (L4: 4 %), except where the maker's own figure is kept: V100 16GB, A10G, L40, Hopper
  and B200, whose clocks or memory the database has otherwise.
- Where `source` names a document of NVIDIA's: TFLOP/s, or bandwidth too, with that document as
  others quote it, not with the document itself. "others' tables" are tables of peak TFLOP/s in
  training code, which agree with each other and name no document. RTX PRO 6000 SE: bandwidth; its
  TFLOP/s are four times the 120 that its datasheet has for 32-bit.
- nvidia-smi's names: with the products that NVIDIA's open kernel modules (595.45) list; V100 is not
  one. Compute capability: also with NVIDIA's page of it, which leaves out some variants.
- GiB: with others' logs for A100 PCIe, RTX 2080 Ti, RTX 5060 Ti 16GB and B200.
- Not compared: the other rows' GiB, NVLink of V100, A100, B200 and GH200, and all of GH200 but its
  name and memory.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from kosent_hub.training.planning.memory import GIB
from model_card.publishing.errors import KoSentError


@dataclass(frozen=True)
class Gpu:
    """A GPU: memory in GiB as PyTorch has it, dense 16-bit TFLOP/s, compute capability, GB/s of
    its memory and of its link to another GPU. `smi` is nvidia-smi's name, `others` what people
    type."""

    name: str
    gib: float
    tflops: float
    capability: float
    bandwidth: float = 1000.0
    link: float = 16.0
    smi: str = ""
    others: tuple[str, ...] = ()
    source: str = ""


_DATABASE = "TechPowerUp GPU Database"
_TURING, _GA102 = "NVIDIA Turing Architecture In-Depth", "NVIDIA GA102 whitepaper V2.0"
_ADA, _BLACKWELL = "NVIDIA Ada whitepaper v2.1", "NVIDIA RTX Blackwell whitepaper V1.1"
_PRO, _AMPERE = "NVIDIA RTX PRO Blackwell whitepaper v1.0", "NVIDIA Ampere Architecture In-Depth"
_H100, _OTHERS = "NVIDIA H100 whitepaper", "others' tables"

# fmt: off
GPUS = (
    Gpu("V100 16GB", 15.8, 125, 7.0, 900, 150, "Tesla V100-SXM2-16GB", (), _AMPERE),
    Gpu("V100 32GB", 31.7, 125, 7.0, 900, 150, "Tesla V100-SXM2-32GB", (), _AMPERE),
    Gpu("V100 PCIe 16GB", 15.8, 112, 7.0, 900, 16,
        "Tesla V100-PCIE-16GB", (), "NVIDIA V100 datasheet"),
    Gpu("V100 PCIe 32GB", 31.7, 112, 7.0, 900, 16,
        "Tesla V100-PCIE-32GB", (), "NVIDIA V100 datasheet"),
    Gpu("T4", 14.6, 65, 7.5, 320, 16, "Tesla T4", (), "NVIDIA T4 datasheet"),
    Gpu("TITAN RTX", 23.6, 130, 7.5, 672, 16, "NVIDIA TITAN RTX", (), _TURING),
    Gpu("RTX 2060", 5.8, 26, 7.5, 336, 16, "NVIDIA GeForce RTX 2060", (), _DATABASE),
    Gpu("RTX 2070", 7.8, 30, 7.5, 448, 16, "NVIDIA GeForce RTX 2070", (), _DATABASE),
    Gpu("RTX 2080", 7.8, 40, 7.5, 448, 16, "NVIDIA GeForce RTX 2080", (), _DATABASE),
    Gpu("RTX 2080 Ti", 10.7, 54, 7.5, 616, 16, "NVIDIA GeForce RTX 2080 Ti", (), _TURING),
    Gpu("A2", 14.6, 18, 8.6, 200, 16, "NVIDIA A2", (), _DATABASE),
    Gpu("A10", 22.0, 125, 8.6, 600, 32, "NVIDIA A10", (), "NVIDIA A10 datasheet"),
    Gpu("A10G", 22.0, 70, 8.6, 600, 32, "NVIDIA A10G", (), _OTHERS),
    Gpu("A30", 23.5, 165, 8.0, 933, 32, "NVIDIA A30", (), _DATABASE),
    Gpu("A40", 44.4, 150, 8.6, 696, 32, "NVIDIA A40", (), "NVIDIA A40 datasheet"),
    Gpu("A100 40GB", 39.4, 312, 8.0, 1555, 300, "NVIDIA A100-SXM4-40GB", ("a100-40g",), _AMPERE),
    Gpu("A100 80GB", 79.1, 312, 8.0, 2039, 300,
        "NVIDIA A100-SXM4-80GB", ("a100-80g",), "NVIDIA A100 datasheet"),
    Gpu("A100 PCIe 40GB", 39.4, 312, 8.0, 1555, 32,
        "NVIDIA A100-PCIE-40GB", (), "NVIDIA A100 datasheet"),
    Gpu("A100 PCIe 80GB", 79.1, 312, 8.0, 1935, 32,
        "NVIDIA A100 80GB PCIe", (), "NVIDIA A100 datasheet"),
    Gpu("RTX 3050", 7.8, 18, 8.6, 224, 16, "NVIDIA GeForce RTX 3050", (), _DATABASE),
    Gpu("RTX 3060", 11.8, 25, 8.6, 360, 32, "NVIDIA GeForce RTX 3060", ("3060 12GB",), _DATABASE),
    Gpu("RTX 3060 Ti", 7.8, 32, 8.6, 448, 32, "NVIDIA GeForce RTX 3060 Ti", (), _DATABASE),
    Gpu("RTX 3070", 7.8, 41, 8.6, 448, 32, "NVIDIA GeForce RTX 3070", (), _DATABASE),
    Gpu("RTX 3070 Ti", 7.8, 43, 8.6, 608, 32, "NVIDIA GeForce RTX 3070 Ti", (), _DATABASE),
    Gpu("RTX 3080", 9.7, 59, 8.6, 760, 32, "NVIDIA GeForce RTX 3080", ("3080 10GB",), _DATABASE),
    Gpu("RTX 3080 12GB", 11.8, 61, 8.6, 912, 32, "", (), _DATABASE),
    Gpu("RTX 3080 Ti", 11.8, 68, 8.6, 912, 32, "NVIDIA GeForce RTX 3080 Ti", (), _DATABASE),
    Gpu("RTX 3090", 23.6, 71, 8.6, 936, 32, "NVIDIA GeForce RTX 3090", (), _GA102),
    Gpu("RTX 3090 Ti", 23.6, 80, 8.6, 1008, 32, "NVIDIA GeForce RTX 3090 Ti", (), _DATABASE),
    Gpu("RTX A2000 12GB", 11.8, 32, 8.6, 288, 32, "NVIDIA RTX A2000 12GB", (), _DATABASE),
    Gpu("RTX A4000", 15.7, 77, 8.6, 448, 32, "NVIDIA RTX A4000", (), _DATABASE),
    Gpu("RTX A4500", 19.7, 95, 8.6, 640, 32, "NVIDIA RTX A4500", (), _DATABASE),
    Gpu("RTX A5000", 23.6, 111, 8.6, 768, 32, "NVIDIA RTX A5000", (), _DATABASE),
    Gpu("RTX A6000", 47.5, 155, 8.6, 768, 32, "NVIDIA RTX A6000", (), _GA102),
    Gpu("L4", 22.0, 121, 8.9, 300, 32, "NVIDIA L4", (), _OTHERS),
    Gpu("L40", 44.4, 181, 8.9, 864, 32, "NVIDIA L40", (), _OTHERS),
    Gpu("L40S", 44.4, 362, 8.9, 864, 32, "NVIDIA L40S", (), _OTHERS),
    Gpu("RTX 4060", 7.6, 30, 8.9, 272, 16, "NVIDIA GeForce RTX 4060", (), _DATABASE),
    Gpu("RTX 4060 Ti", 7.6, 44, 8.9, 288, 16,
        "NVIDIA GeForce RTX 4060 Ti", ("4060 Ti 8GB",), _DATABASE),
    Gpu("RTX 4060 Ti 16GB", 15.6, 44, 8.9, 288, 16, "", (), _DATABASE),
    Gpu("RTX 4070", 11.6, 58, 8.9, 504, 32, "NVIDIA GeForce RTX 4070", (), _DATABASE),
    Gpu("RTX 4070 Super", 11.6, 71, 8.9, 504, 32, "NVIDIA GeForce RTX 4070 SUPER", (), _DATABASE),
    Gpu("RTX 4070 Ti", 11.6, 80, 8.9, 504, 32, "NVIDIA GeForce RTX 4070 Ti", (), _DATABASE),
    Gpu("RTX 4070 Ti Super", 15.6, 88, 8.9, 672, 32,
        "NVIDIA GeForce RTX 4070 Ti SUPER", (), _DATABASE),
    Gpu("RTX 4080", 15.6, 97, 8.9, 717, 32, "NVIDIA GeForce RTX 4080", (), _DATABASE),
    Gpu("RTX 4080 Super", 15.6, 104, 8.9, 736, 32, "NVIDIA GeForce RTX 4080 SUPER", (), _DATABASE),
    Gpu("RTX 4090", 23.5, 165, 8.9, 1008, 32, "NVIDIA GeForce RTX 4090", (), _ADA),
    Gpu("RTX 4000 Ada", 19.6, 107, 8.9, 360, 32, "NVIDIA RTX 4000 Ada Generation", (), _DATABASE),
    Gpu("RTX 5000 Ada", 31.5, 261, 8.9, 576, 32, "NVIDIA RTX 5000 Ada Generation", (), _DATABASE),
    Gpu("RTX 6000 Ada", 47.5, 364, 8.9, 960, 32, "NVIDIA RTX 6000 Ada Generation", (), _PRO),
    Gpu("H100", 79.1, 989, 9.0, 3350, 450,
        "NVIDIA H100 80GB HBM3", ("H100 SXM", "H100 80GB"), _H100),
    Gpu("H100 PCIe", 79.1, 756, 9.0, 2000, 64, "NVIDIA H100 PCIe", (), _H100),
    Gpu("H100 NVL", 93.0, 835, 9.0, 3900, 64, "NVIDIA H100 NVL", (), _OTHERS),
    Gpu("GH200", 94.5, 989, 9.0, 4000, 450, "NVIDIA GH200 480GB", (), "from memory"),
    Gpu("H200", 139.7, 989, 9.0, 4800, 450, "NVIDIA H200", ("H200 SXM",), _OTHERS),
    Gpu("H200 NVL", 139.7, 835, 9.0, 4800, 64, "NVIDIA H200 NVL", (), _OTHERS),
    Gpu("B200", 178.3, 2250, 10.0, 7700, 900, "NVIDIA B200", (), "NVIDIA Blackwell datasheet"),
    Gpu("RTX 5060", 7.6, 38, 12.0, 448, 32, "NVIDIA GeForce RTX 5060", (), _DATABASE),
    Gpu("RTX 5060 Ti", 7.6, 47, 12.0, 448, 32,
        "NVIDIA GeForce RTX 5060 Ti", ("5060 Ti 8GB",), _DATABASE),
    Gpu("RTX 5060 Ti 16GB", 15.5, 47, 12.0, 448, 32, "", (), _DATABASE),
    Gpu("RTX 5070", 11.6, 62, 12.0, 672, 64, "NVIDIA GeForce RTX 5070", (), _DATABASE),
    Gpu("RTX 5070 Ti", 15.5, 88, 12.0, 896, 64, "NVIDIA GeForce RTX 5070 Ti", (), _DATABASE),
    Gpu("RTX 5080", 15.5, 113, 12.0, 960, 64, "NVIDIA GeForce RTX 5080", (), _DATABASE),
    Gpu("RTX 5090", 31.4, 210, 12.0, 1792, 64, "NVIDIA GeForce RTX 5090", (), _BLACKWELL),
    Gpu("RTX PRO 6000", 95.0, 504, 12.0, 1792, 64,
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", ("RTX PRO 6000 Blackwell",), _PRO),
    Gpu("RTX PRO 6000 SE", 95.0, 480, 12.0, 1597, 64,
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        ("RTX PRO 6000 Server",), "NVIDIA RTX PRO 6000 Server Edition datasheet"),
)
# fmt: on


def find(name: str) -> Gpu:
    """The GPU of that name: nvidia-smi's, this table's, or one without its maker or series.

    Raises KoSentError, naming its neighbours, for a name that is none of these. Where several
    GPUs have nvidia-smi's name, it means the one with the least memory.
    """
    known = {key: gpu for gpu in reversed(GPUS) for key in _keys(gpu)}
    wanted = _plain(name)
    if wanted in known:
        return known[wanted]
    near = [gpu.name for gpu in GPUS if any(key.startswith(wanted) for key in _keys(gpu))]
    close = difflib.get_close_matches(wanted, known, n=4, cutoff=0.6)
    near = (near if wanted else []) or list(dict.fromkeys(known[key].name for key in close))
    raise KoSentError(
        f"--gpu {name}",
        "which of these" if len(near) > 1 and _plain(near[0]).startswith(wanted) else "not known",
        f"{'there are' if near else 'for example'} {', '.join(near[:8] or _EXAMPLES)}; "
        "or give its memory with --vram-gb",
    )


_EXAMPLES = ("RTX 3060 Ti", "RTX 4090", "T4", "L4", "A100 80GB", "H100")


def of_memory(gigabytes: float) -> Gpu:
    """A GPU of that much memory, of which nothing else is known."""
    return Gpu(f"a GPU of {gigabytes:g} GB", gigabytes * 1e9 / GIB * 0.98, 100, 8.0)


def _keys(gpu: Gpu) -> set[str]:
    """All spellings of a GPU's names."""
    keys = {_plain(name) for name in (gpu.name, gpu.smi, *gpu.others) if name}
    return keys | {key.removeprefix("rtx") for key in keys}


def _plain(name: str) -> str:
    """A name in lower case, without its maker, its series, spaces and dashes."""
    words = re.sub(r"nvidia|geforce|tesla|quadro|\bgeneration\b", "", name.lower())
    return re.sub(r"[\s_()-]", "", words)
