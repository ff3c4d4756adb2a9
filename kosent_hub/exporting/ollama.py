"""A Modelfile (https://docs.ollama.com/modelfile) for Ollama, which itself was not run."""

from __future__ import annotations

import os
from pathlib import Path

from kosent_hub.models.chat_format import ChatFormat
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write

NAME = "Modelfile"


def write_modelfile(
    folder: Path, file: Path, form: ChatFormat, system_prompt: str | None, *, overwrite: bool
) -> Path:
    """The Modelfile in `folder` for the GGUF `file`: the dataset's system message, and what ends a
    reply. Raises KoSentError for one that is there, unless it may be overwritten."""
    path = folder / NAME
    refuse_existing(path, overwrite=overwrite)
    atomic_write(path, modelfile(_from(folder, file), form, system_prompt).encode())
    return path


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise KoSentError for a Modelfile that is there, unless it may be overwritten."""
    if path.exists() and not overwrite:
        raise KoSentError(path, "already exists", "name another folder, or add --overwrite")


def modelfile(source: str, form: ChatFormat, system_prompt: str | None) -> str:
    """The text of a Modelfile; `source` is the GGUF file, as seen from the Modelfile."""
    lines = [f"FROM {source}"]
    if system_prompt:
        if '"""' in system_prompt:
            raise KoSentError(
                "the system message", 'has """ in it, which a Modelfile cannot hold', "change it"
            )
        lines.append(f'SYSTEM """{system_prompt}"""')
    # The most likely tokens, as kosent-eval takes them.
    lines.append("PARAMETER temperature 0")
    lines += [f'PARAMETER stop "{_escaped(stop)}"' for stop in _stops(form)]
    return "\n".join(lines) + "\n"


def _from(folder: Path, file: Path) -> str:
    """The file as seen from the folder, so that both can be moved together."""
    relative = os.path.relpath(file.resolve(), folder.resolve())
    return relative if relative.startswith(os.pardir) else f"./{relative}"


def _stops(form: ChatFormat) -> list[str]:
    """The texts that end a reply: the end of the turn, and the tokenizer's end token."""
    tokenizer = form.tokenizer
    found = [form.end.strip() or None, tokenizer.eos_token]
    return list(dict.fromkeys(str(stop) for stop in found if stop))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
