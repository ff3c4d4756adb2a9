"""Whose the rows are: AI Hub's, unless the source folder says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_card.publishing import front_matter

AIHUB = "aihub-86"
AIHUB_PAGE = "https://aihub.or.kr/aihubdata/data/view.do?dataSetSn=86"


@dataclass(frozen=True)
class Origin:
    """`corpus` is a short id, None if unknown; `license` a Hub licence id, None for AI Hub's."""

    corpus: str | None
    license: str | None
    pretty_name: str | None


def of(source: Path) -> Origin:
    """What SOURCE/README.md says between its `---` lines, else AI Hub.

    AI Hub's packages hold neither a README nor a LICENSE; a folder with a LICENSE is someone's.
    """
    readme = source / "README.md"
    said = (
        front_matter.read(readme.read_text(encoding="utf-8", errors="replace"))
        if readme.is_file()
        else {}
    )
    licence, name, corpus = (said.get(key) for key in ("license", "pretty_name", "corpus"))
    if isinstance(licence, str):
        return Origin(corpus, licence, name)
    if source.is_dir() and any(source.glob("LICENSE*")):
        return Origin(None, "other", name)
    return Origin(AIHUB, None, name)
