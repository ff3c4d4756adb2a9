"""What the base model's own repo on the Hub says: its licence, and its licence texts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from model_card.facts import Facts
from model_card.licenses import LLAMA_FILES, NOTICE_PATH, llama
from model_card.publishing import front_matter
from model_card.publishing.commit import Head, read_head
from model_card.publishing.errors import explain

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class BaseRepo:
    """Base models' repos, each asked once. One that cannot be read is said to be so, on stderr."""

    def __init__(self, api: HfApi) -> None:
        self._api = api
        self._heads: dict[str, Head | None] = {}

    def license(self, base_model: str, revision: str | None) -> str | None:
        """The licence that the base model's own card states; None if there is no way to know."""
        card = self._read(base_model, revision, "README.md")
        if card is None:
            return None
        stated = front_matter.read(card.decode("utf-8", "replace")).get("license")
        return stated if isinstance(stated, str) and stated != "other" else None

    def notices(self, facts: Facts) -> dict[str, bytes]:
        """What a Llama base's licence wants in the repo: its own texts, and the notice."""
        terms = llama(facts.license)
        if terms is None or facts.run is None:
            return {}
        base = facts.run.base_model
        revision = None if base.local else base.revision
        texts = {path: self._read(base.id, revision, path) for path in LLAMA_FILES}
        found = {path: data for path, data in texts.items() if data is not None}
        return found | {NOTICE_PATH: f"{terms.notice}\n".encode()}

    def _read(self, base_model: str, revision: str | None, path: str) -> bytes | None:
        """A file of the repo; None if it has none, or cannot be read: then it is not tried again.

        A gate is open to who asks what the repo holds, and shut to who reads it.
        """
        try:
            if base_model not in self._heads:
                self._heads[base_model] = read_head(base_model, revision=revision, api=self._api)
            head = self._heads[base_model]
            return head.read(path) if head is not None else None
        except Exception as error:
            # A card does not depend on its base model's repo; `check` says what is missing.
            line = explain(error)
            if line is None:
                raise
            print(f"{base_model}: its licence could not be read there ({line})", file=sys.stderr)
            self._heads[base_model] = None
            return None
