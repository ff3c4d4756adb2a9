"""Facts -> README: a pure function, the same text from the same facts."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from model_card.facts import Facts
from model_card.publishing import front_matter
from model_card.publishing.markdown import Markdown, escape
from model_card.publishing.sections import find, merge
from model_card.render.boilerplate import is_generated
from model_card.render.context import context
from model_card.render.labels import LANGUAGES
from model_card.render.metadata import card_metadata

if TYPE_CHECKING:
    from jinja2 import Environment

BOTH = "both"


def render_facts(
    facts: Facts,
    *,
    repo_id: str | None,
    language: str | None = None,
    existing: str | None = None,
    replace_edits: bool = False,
) -> str:
    """The README: metadata and our sections brought up to date, other people's text kept.

    `language` is "ko", "en" or "both" (Korean first); None keeps what `existing` has, else both.
    A card that a training library wrote and nobody touched is replaced. Without a run (somebody
    else's model) only the evaluation is written.
    """
    if existing is not None and is_generated(existing):
        existing = None
    sections = card_sections(facts, repo_id, language or languages_of(existing))
    text = merge(existing, sections, replace_edits=replace_edits)
    return front_matter.merge(text, card_metadata(facts, repo_id))


def card_sections(facts: Facts, repo_id: str | None, language: str) -> dict[str, str]:
    """The card's sections by name (`ko-head`, …) in their order, empty ones left out."""
    sections: dict[str, str] = {}
    for lang in LANGUAGES if language == BOTH else (language,):
        names = context(facts, repo_id, lang, both=language == BOTH)
        names["section"] = partial(_collect, sections, lang)
        _environment().get_template(f"template.{lang}.md.jinja").render(names)
    return sections


def _collect(sections: dict[str, str], lang: str, name: str, caller: Callable[[], str]) -> str:
    """Add the text of a template's `call section(name)` to `sections`; nothing is printed."""
    text = re.sub(r"\n{3,}", "\n\n", caller()).strip()
    if text:
        sections[f"{lang}-{name}"] = text
    return ""


def languages_of(existing: str | None) -> str:
    """The language(s) of our sections in a README; both when it has none."""
    found = {section.name[:2] for section in find(existing or "")} & set(LANGUAGES)
    return found.pop() if len(found) == 1 else BOTH


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("model_card.render", "."),
        autoescape=False,
        finalize=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["markdown"] = lambda text: Markdown(text.strip())
    return environment
