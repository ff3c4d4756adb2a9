"""A README as the Hub shows it: its Markdown as sanitised HTML."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from model_card.publishing.front_matter import split

_HEADINGS = {f"h{level}" for level in range(1, 7)}
_ATTRIBUTES = {
    **{tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()},
    **{heading: {"id"} for heading in _HEADINGS},
    "details": {"open"},
}
_TABLE = re.compile(r"(<table.*?</table>)", re.DOTALL)


def card_html(text: str, files: str) -> str:
    """The README's body as HTML with tables, pictures and collapsible parts, no active content.

    Relative pictures and links point below `files`. A picture from elsewhere is not loaded, only
    its alternative text is shown. Scripts, styles, forms and frames are removed.
    """
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = markdown.parse(split(text)[1])
    for heading, title in headings(tokens):
        heading.attrSet("id", slug(title))
    for token in tokens:
        if token.type in ("th_open", "td_open"):
            # The sanitiser and the content policy allow no style attribute.
            align = str(token.attrs.pop("style", "")).removeprefix("text-align:")
            if align:
                token.attrSet("align", align)
    rendered = markdown.renderer.render(tokens, markdown.options, {})
    clean = nh3.clean(
        rendered,
        tags=set(nh3.ALLOWED_TAGS) | {"details", "summary"},
        attributes=_ATTRIBUTES,
        attribute_filter=_filter(files),
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return _TABLE.sub(r'<div class="scroll" tabindex="0">\1</div>', clean)


def headings(tokens: Iterable[Token]) -> list[tuple[Token, str]]:
    """Each heading's opening token with its text."""
    found = []
    opening: Token | None = None
    for token in tokens:
        if token.type == "heading_open":
            opening = token
        elif opening is not None and token.type == "inline":
            found.append((opening, token.content))
            opening = None
    return found


def slug(title: str) -> str:
    """The anchor of a heading: lower case, letters, digits and hyphens."""
    kept = re.sub(r"[^\w\- ]", "", html.unescape(title).strip().lower())
    return kept.replace(" ", "-")


def is_relative(url: str) -> bool:
    """Whether a link or picture is a path in the repo itself."""
    parts = urlsplit(url)
    return not parts.scheme and not parts.netloc and bool(parts.path)


def repo_path(url: str) -> str:
    """The path in the repo that a relative link means."""
    return posixpath.normpath(unquote(urlsplit(url).path)).lstrip("/")


def _filter(files: str) -> Callable[[str, str, str], str | None]:
    def keep(tag: str, attribute: str, value: str) -> str | None:
        if (tag, attribute) not in (("img", "src"), ("a", "href")):
            return value
        if is_relative(value):
            path = repo_path(value)
            return None if path.startswith("..") else f"{files}/{quote(path)}"
        return None if tag == "img" else value

    return keep
