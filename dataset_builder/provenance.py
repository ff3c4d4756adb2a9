"""The origin and licence of the rows: AI Hub's, unless the source folder states another."""

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


def origin_of(source: Path) -> Origin:
    """The origin stated in the front matter of SOURCE/README.md, else AI Hub.

    A folder with a LICENSE but no such statement has a licence of its own: AI Hub's packages hold
    neither a README nor a LICENSE.
    """
    readme = source / "README.md"
    stated = (
        front_matter.read(readme.read_text(encoding="utf-8", errors="replace"))
        if readme.is_file()
        else {}
    )
    licence, name, corpus = (stated.get(key) for key in ("license", "pretty_name", "corpus"))
    if isinstance(licence, str):
        return Origin(corpus, licence, name)
    if source.is_dir() and any(source.glob("LICENSE*")):
        return Origin(None, "other", name)
    return Origin(AIHUB, None, name)
