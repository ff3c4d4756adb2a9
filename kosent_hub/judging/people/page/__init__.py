"""The people's page: served with its files, or as one HTML file with all in it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from markdown_it import MarkdownIt

from kosent_hub.judging import rubric
from kosent_hub.judging.options import LANGUAGES

STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
FILE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def whole_page(data: dict[str, Any] | None = None) -> str:
    """The page that asks its server, or with `data` one that needs no server and no other file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__name__, "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.jinja").render(
        rubrics={language: _rubric(language) for language in LANGUAGES},
        policy=FILE_POLICY,
        css=static("page.css"),
        js=static("page.js"),
        data=None if data is None else _in_script(data),
    )


def static(name: str) -> str:
    """The text of one of the page's files."""
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


@cache
def _rubric(language: str) -> str:
    return MarkdownIt("commonmark").render(rubric.text(language))


def _in_script(data: dict[str, Any]) -> str:
    """The data as JSON that cannot end the script element that it stands in."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
