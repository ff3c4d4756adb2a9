"""The parts of a model, found and checked: adapter and base at their commits, config, tokenizer."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from kosent_hub.models.chat_format import ChatFormat, chat_format
from kosent_hub.models.repos.adapter_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    cached,
    named_base,
    refuse_empty,
    refuse_unusable_weights,
)
from kosent_hub.models.repos.repo import is_gguf, resolve
from kosent_hub.models.repos.untrusted import explained, read_settings
from kosent_hub.models.tokenizer import load_tokenizer
from kosent_hub.models.weights.gguf_file import gguf_of, opened
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.records import RUN_PATH, EvaluatedModel, Repo

# The suffixes of the files that decide what a model replies.
DECIDING = (".safetensors", ".gguf", ".json", ".jinja")
WEIGHTS = DECIDING[:2]
# Bytes of weights whose SHA-256 takes long enough for a bar.
LARGE = 2**31


class FormatChanged(KoSentError):
    """A model would not get the text that it was trained with."""


@dataclass(frozen=True)
class ModelRef:
    """A model by its Hub id or folder, and how to load it.

    Where a field is None: the default branch, the device's dtype, the model's own chat template.
    `new_format`: an adapter's chat format need not be the one it was trained with.
    """

    model_id: str
    revision: str | None = None
    dtype: str | None = None
    chat_template: str | None = None
    trust_remote_code: bool = False
    new_format: bool = False


def template_in(file: str | Path | None) -> str | None:
    """The chat template in a file that the user names; None where none is named."""
    return None if file is None else decode_text(Path(file).read_bytes(), file)


@dataclass(frozen=True)
class Located:
    """A model's parts, as `ref` asks for them.

    `base` is the model itself where there is no adapter.
    """

    ref: ModelRef
    repo: Repo
    base_id: str
    base: Repo
    adapter: bool
    config: Any
    form: ChatFormat

    @property
    def model_id(self) -> str:
        """The model by the name that was given."""
        return self.ref.model_id

    def record(self, dtype: str) -> EvaluatedModel:
        """The model as results.json names it."""
        return EvaluatedModel(
            id=self.repo.id,
            revision=self.repo.revision,
            base_model=self.base.id if self.adapter else None,
            base_revision=self.base.revision if self.adapter else None,
            adapter=self.adapter,
            dtype=dtype,
            local=self.repo.local,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """A fingerprint of the model's files, by name: equal for equal replies.

        On the Hub it is the files' hashes: a commit that only changes the card, as a push of scores
        does, leaves the model the same.
        """
        at = {self.base_id: self.base.revision, self.model_id: self.repo.revision}
        return {name: _stamps(name) or _blobs(name, at[name]) for name in sorted(at)}

    def weights_sha256(self) -> dict[str, str]:
        """SHA-256 of each file of weights in a local folder, by its name; {} for repos of the Hub,
        whose commit says as much. An adapter's file is beside those of its base."""
        files = []
        gguf = gguf_of(self.base_id, self.base.revision) if self.base.local else None
        if gguf is not None:
            files.append(gguf)
        elif self.base.local:
            files = [
                p for p in Path(self.base_id).glob("*.safetensors") if p.name != ADAPTER_WEIGHTS
            ]
        if self.adapter and self.repo.local:
            files.append(Path(self.model_id) / ADAPTER_WEIGHTS)
        return _sha256(sorted(files, key=lambda path: path.name))


def locate(ref: ModelRef) -> Located:
    """The parts of the requested model, the base at the revision that its adapter names.

    Raises KoSentError, one line, for a repo that is missing, gated, no language model, or whose
    adapter is not whole, pickled, in several files, or one of another adapter.
    """
    repo = resolve(ref.model_id, ref.revision)
    gguf = gguf_of(ref.model_id, repo.revision)
    config_file = None if gguf else cached(ref.model_id, ADAPTER_CONFIG, repo.revision)
    base_id, base = ref.model_id, repo
    if config_file is not None:
        settings = read_settings(config_file, f"{ref.model_id}/{ADAPTER_CONFIG}")
        refuse_unusable_weights(ref.model_id, repo)
        base_id, base = named_base(ref.model_id, settings, repo)
        print(f"{ref.model_id}: an adapter of {base_id}, {_place(base)}", file=sys.stderr)
    try:
        with (
            explained(base_id, ref.trust_remote_code),
            opened(base_id, base.revision) as (place, which, _),
        ):
            config = AutoConfig.from_pretrained(
                place, **which, trust_remote_code=ref.trust_remote_code
            )
    except KoSentError:
        if gguf is None:
            refuse_empty(base_id, base)
        raise
    _refuse_other_kinds(base_id, config)
    own = gguf or cached(ref.model_id, "tokenizer_config.json", repo.revision)
    at = (ref.model_id, repo.revision) if own else (base_id, base.revision)
    tokenizer = load_tokenizer(
        *at,
        ids=getattr(config.get_text_config(), "vocab_size", None),
        chat_template=ref.chat_template,
        trust_remote_code=ref.trust_remote_code,
    )
    form = _format(ref, repo, tokenizer)
    return Located(ref, repo, base_id, base, config_file is not None, config, form)


def _format(ref: ModelRef, repo: Repo, tokenizer: Any) -> ChatFormat:
    """The chat format: that of the model's training where it is recorded.

    Raises FormatChanged when the model would get another.
    """
    recorded = run_record(ref.model_id, repo).get("chat_format")
    if not isinstance(recorded, dict) or not recorded:
        return chat_format(tokenizer)
    form = chat_format(tokenizer, recorded)
    changed = [
        f"{name} was {recorded.get(name)!r} and is {form.facts.get(name)!r}"
        for name in sorted(recorded.keys() | form.facts.keys())
        if recorded.get(name) != form.facts.get(name)
    ]
    if changed and not ref.new_format:
        raise FormatChanged(
            ref.model_id,
            f"was trained with another chat format ({'; '.join(changed)})",
            "evaluate it with the template and the kosent-hub of its training, or add "
            "--new-chat-format to evaluate it all the same",
        )
    return form


def run_record(model_id: str, repo: Repo) -> dict[str, Any]:
    """The record of the training that made a model, as its JSON has it; {} where there is none."""
    if is_gguf(model_id):
        return {}
    path = cached(model_id, RUN_PATH, repo.revision)
    return {} if path is None else read_settings(path, f"{model_id}/{RUN_PATH}")


def _place(repo: Repo) -> str:
    return "a folder here" if repo.local else f"at {repo.revision}"


def _refuse_other_kinds(model_id: str, config: Any) -> None:
    """Raise KoSentError unless the repo's architecture writes text from left to right."""
    if getattr(config, "auto_map", None):
        return
    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    architectures = getattr(config, "architectures", None) or []
    if architectures and not known & set(architectures):
        raise KoSentError(
            model_id,
            f"a {architectures[0]} does not generate text",
            "name a causal language model or an adapter of one",
        )


def _blobs(model_id: str, revision: str | None) -> dict[str, str] | str | None:
    """The hashes of a loaded model's files by their names, or its commit if the cache has none."""
    config = (
        cached(model_id, ADAPTER_CONFIG, revision)
        or cached(model_id, "config.json", revision)
        or gguf_of(model_id, revision)
    )
    files = [] if config is None else [p for p in config.parent.iterdir() if p.suffix in DECIDING]
    # The cache's files are links to blobs named by their hash, where the file system has links.
    blobs = {path.name: path.readlink().name for path in files if path.is_symlink()}
    complete = len(blobs) == len(files) and any(name.endswith(WEIGHTS) for name in blobs)
    return blobs if complete else revision


def _stamps(model_id: str) -> list[tuple[str, int, int]] | None:
    """Names, sizes and times of the files of a local folder, or of a GGUF file, which a new
    training changes; else None."""
    folder = Path(model_id)
    if not folder.is_dir() and not is_gguf(model_id):
        return None
    files = [folder] if is_gguf(model_id) else [p for p in folder.iterdir() if p.suffix in DECIDING]
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)


def _sha256(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file, by its name, with a bar where that takes a while."""
    total, found = sum(path.stat().st_size for path in files), {}
    with tqdm(
        desc="SHA-256 of the weights",
        total=total,
        unit="B",
        unit_scale=True,
        disable=total < LARGE,
        file=sys.stderr,
    ) as bar:
        for path in files:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(2**22):
                    digest.update(block)
                    bar.update(len(block))
            found[path.name] = digest.hexdigest()
    return found
