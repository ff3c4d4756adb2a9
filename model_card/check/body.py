"""Checks of a card's text: links, pictures, code blocks, markers, placeholders."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator

import yaml
from markdown_it.token import Token

from model_card.check.card import ERROR, WARNING, CheckedCard, Finding
from model_card.preview.html import headings, is_relative, repo_path, slug
from model_card.publishing.sections import MarkerError, find, merge
from model_card.render.card import card_sections, languages_of

_HTML_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = r"\b{}\s*=\s*[\"']([^\"']*)[\"']"


def check_links(card: CheckedCard) -> Iterator[Finding]:
    """Broken relative links and pictures, and pictures without alternative text."""
    anchors = {slug(title) for _, title in headings(card.tokens)}
    for line, kind, url, alt in _references(card):
        what = "picture" if kind == "image" else "link"
        if kind == "image" and not alt:
            message = f"the picture {url} has no alternative text"
            yield Finding(line, WARNING, "image-alt", message, "say in a few words what it shows")
        if url.startswith("#") and url.isascii() and slug(url[1:]) not in anchors:
            message = f"the link {url} has no heading to go to"
            yield Finding(line, WARNING, "anchor-broken", message, "fix the link")
        if not is_relative(url) or card.paths is None:
            continue
        path = repo_path(url)
        folder = f"{path.rstrip('/')}/"
        if path not in card.paths and not any(known.startswith(folder) for known in card.paths):
            message = f"the {what} {path} is not in the repo"
            yield Finding(line, ERROR, f"{kind}-broken", message, "add the file, or fix the path")


def check_code(card: CheckedCard) -> Iterator[Finding]:
    """Code blocks that do not parse."""
    parsers = {
        **dict.fromkeys(("python", "py", "python3"), _python),
        **dict.fromkeys(("bash", "sh", "shell", "console"), _shell),
        "json": lambda text: json.loads(text),
        **dict.fromkeys(("yaml", "yml"), yaml.safe_load),
    }
    for token in card.tokens:
        language = (token.info.split() or [""])[0].lower()
        if token.type != "fence" or language not in parsers or token.map is None:
            continue
        try:
            parsers[language](token.content)
        except (SyntaxError, ValueError, RecursionError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            inner = getattr(error, "lineno", None) or (mark.line + 1 if mark else 1)
            problem = getattr(error, "msg", None) or getattr(error, "problem", None) or str(error)
            line = card.body_line + token.map[0] + 1 + inner
            message = f"this {language} code does not parse: {problem}"
            yield Finding(line, ERROR, "code-broken", message, "fix it; people will paste it")


def check_markers(card: CheckedCard) -> Iterator[Finding]:
    """Our markers out of order, sections changed by hand, a card older than its records."""
    try:
        sections = find(card.text)
    except MarkerError as error:
        message = f"{error.where}: {error.what}"
        yield Finding(error.line, ERROR, "marker-broken", message, error.remedy)
        return
    edited = [section for section in sections if section.edited]
    for section in edited:
        line = card.text.count("\n", 0, section.start) + 1
        message = f"the section {section.name} was changed by hand; new records will not change it"
        remedy = "move your text outside the markers, then kosent-card render --replace-edits"
        yield Finding(line, WARNING, "section-edited", message, remedy)
    if not sections or edited or not card.facts.recorded:
        return
    repo_id = card.name if "/" in card.name else None
    now = merge(card.text, card_sections(card.facts, repo_id, languages_of(card.text)))
    if now != card.text:
        message = "the card says something else than its records"
        remedy = f"kosent-card {'push' if repo_id else 'render'} writes it again"
        yield Finding(1, WARNING, "card-stale", message, remedy)


def check_placeholders(card: CheckedCard) -> Iterator[Finding]:
    """Placeholders that a template left to be filled in, and cards without text."""
    if not re.search(r"\w", card.body):
        yield Finding(1, ERROR, "card-empty", "the card has no text", "say what the model is")
    left = r"\[?More Information Needed\]?|Model Card for Model ID|\bTODO\b|\bTBD\b"
    lines = [line for line, text in card.prose if re.search(left, text)]
    if lines:
        message = f"{len(lines)} places that a template left to be filled in"
        yield Finding(lines[0], WARNING, "placeholder", message, "fill them in, or delete them")


def _references(card: CheckedCard) -> Iterator[tuple[int, str, str, str]]:
    """(line, image or link, address, alternative text) of everything the body refers to."""
    for token in card.tokens:
        line = card.body_line + (token.map[0] if token.map else 0) + 1
        for inner in [token, *(token.children or [])]:
            if inner.type == "softbreak":
                line += 1
            elif inner.type == "image":
                yield line, "image", str(inner.attrs.get("src", "")), inner.content
            elif inner.type == "link_open":
                yield line, "link", str(inner.attrs.get("href", "")), ""
            elif inner.type in ("html_block", "html_inline"):
                yield from _html_references(inner, line)


def _html_references(token: Token, line: int) -> Iterator[tuple[int, str, str, str]]:
    for offset, text in enumerate(token.content.splitlines()):
        for image in _HTML_IMAGE.findall(text):
            source = re.search(_ATTRIBUTE.format("src"), image, re.IGNORECASE)
            alt = re.search(_ATTRIBUTE.format("alt"), image, re.IGNORECASE)
            if source:
                yield line + offset, "image", source[1], alt[1] if alt else ""
        for address in re.findall(_ATTRIBUTE.format("href"), text, re.IGNORECASE):
            yield line + offset, "link", address, ""


def _python(text: str) -> None:
    """Parse Python, also as notebooks (`!pip`, `%magic`) and consoles (`>>>`) write it."""
    lines = text.splitlines()
    if any(line.startswith(">>>") for line in lines):
        lines = [line[4:] if line.startswith((">>>", "...")) else "" for line in lines]
    ast.parse("\n".join("" if re.match(r"\s*[!%]", line) else line for line in lines))


def _shell(text: str) -> None:
    shlex.split(text, comments=True)
