"""The loading script: a builder for the datasets library, a thin shell over the modules beside it.

With datasets 2 and 3 (from 4 on the library runs no scripts; use `dataset_builder.load`):

    load_dataset("dataset_builder/kosent_dialogues.py", data_dir=SOURCE, trust_remote_code=True)
"""

# ruff: noqa: F401
# The library copies this file and, of the files beside it, those that an import line here names; so
# modules that only the others need are named too. No comment may follow on such a line: the library
# would take it for the address of the module.
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from .chat import SCHEMA
from .columns import texts
from .corpus import read_corpus
from .editions import SUFFIXES
from .formats import stand_in
from .labels import name_labels
from .limits import MAX_FILE_BYTES
from .losses import Findings
from .options import CorpusOptions
from .personal import masked
from .sources import SourceError, content_hash
from .splits import carve
from .tables import decode
from .taxonomy import EMOTIONS
from .workbook import read_sheets


@dataclass
class KosentConfig(datasets.BuilderConfig):
    """How to read the corpus: `CorpusOptions` as keywords of `load_dataset`."""

    system_prompt: str = CorpusOptions.system_prompt
    as_is: bool = CorpusOptions.as_is
    validation_fraction: float | None = CorpusOptions.validation_fraction
    seed: int = CorpusOptions.seed
    prefer: str | None = CorpusOptions.prefer
    mask_personal_data: bool = CorpusOptions.mask_personal_data

    def options(self) -> CorpusOptions:
        """The same values, for `read_corpus`."""
        names = [field.name for field in fields(CorpusOptions)]
        return CorpusOptions(**{name: getattr(self, name) for name in names})

    def create_config_id(self, config_kwargs: dict[str, Any], *args: Any, **kwargs: Any) -> str:
        """The name of the cache folder: it follows the content of SOURCE, not its path."""
        settings = {name: value for name, value in config_kwargs.items() if name != "data_dir"}
        settings["content"] = content_hash(_source(self.data_dir), SUFFIXES)
        return super().create_config_id(settings, *args, **kwargs)


class KosentDialogues(datasets.ArrowBasedBuilder):
    """AI Hub's emotional dialogues as chat rows, read from the files at `data_dir`."""

    BUILDER_CONFIG_CLASS = KosentConfig
    BUILDER_CONFIGS = [  # noqa: RUF012
        KosentConfig(name="chat", description="Cleaned, leaks removed, with a validation split"),
        KosentConfig(name="as_is", as_is=True, description="Every dialogue, for others' counts"),
    ]
    DEFAULT_CONFIG_NAME = "chat"

    def _info(self) -> datasets.DatasetInfo:
        text = datasets.Value("string")
        types: dict[str, Any] = {
            field.name: text if pa.types.is_string(field.type) else datasets.Value("int32")
            for field in SCHEMA
        }
        types["messages"] = [{"role": text, "content": text}]
        return datasets.DatasetInfo(features=datasets.Features(types))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        corpus = read_corpus(_source(self.config.data_dir), self.config.options())
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"table": part.to_table()})
            for split, part in corpus.splits.items()
        ]

    def _generate_tables(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        yield 0, table


def _source(data_dir: str | None) -> Path:
    if data_dir is None:
        raise SourceError(None, "no SOURCE", "give the folder of AI Hub's files as data_dir")
    return Path(data_dir).expanduser()
