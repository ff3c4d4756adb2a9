"""The input and output of a check: a card with what is known about its repo, and findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from model_card.facts import Facts
from model_card.publishing.front_matter import load, split

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing to fix: its line, how bad it is, what it is, and what to do about it."""

    line: int
    level: str
    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class CheckedCard:
    """A README with what else is known about its repo.

    `name` is the repo's id or the model's name; `pushed` says that this is the repo itself, not a
    folder that a push will add to; `paths` are None where only the README is at hand;
    `base_license` finds the licence of a base model, None where it is not known.
    """

    text: str
    name: str
    pushed: bool = False
    paths: frozenset[str] | None = None
    read: Callable[[str], bytes | None] = lambda path: None
    facts: Facts = field(default_factory=Facts)
    base_license: Callable[[str], str | None] = lambda base: None

    @cached_property
    def data(self) -> dict[str, Any]:
        """The metadata, {} where there is none or it cannot be read."""
        try:
            data = load(self.front)
        except yaml.YAMLError:
            return {}
        return data if isinstance(data, dict) else {}

    @cached_property
    def front(self) -> str:
        """The YAML between the --- lines."""
        lines = split(self.text)[0].splitlines()
        return "\n".join(line for line in lines if line.strip().strip("\ufeff") != "---")

    @cached_property
    def body(self) -> str:
        """Everything after the metadata."""
        return split(self.text)[1]

    @cached_property
    def body_line(self) -> int:
        """How many lines precede the body."""
        return split(self.text)[0].count("\n")

    @cached_property
    def tokens(self) -> list[Token]:
        """The body's Markdown, parsed."""
        markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        return markdown.parse(self.body)

    @cached_property
    def prose(self) -> list[tuple[int, str]]:
        """(line number, text) of the body's lines outside code blocks."""
        code: set[int] = set()
        for token in self.tokens:
            if token.type in ("fence", "code_block") and token.map:
                code.update(range(*token.map))
        return [
            (self.body_line + number + 1, line)
            for number, line in enumerate(self.body.splitlines())
            if number not in code
        ]

    def line_of(self, key: str) -> int:
        """The line of a metadata key; 1 if the metadata does not have it."""
        lines = split(self.text)[0].splitlines()
        found = [n for n, line in enumerate(lines, 1) if re.match(rf"{re.escape(key)}\s*:", line)]
        return found[0] if found else 1

    def first(self, pattern: str) -> tuple[int, str] | None:
        """The first line of prose that matches, with its number."""
        return next(((n, line) for n, line in self.prose if re.search(pattern, line)), None)

    def values(self, key: str) -> list[Any]:
        """A metadata key's values as a list, also where it has a single one or none."""
        value = self.data.get(key)
        return [] if value is None else value if isinstance(value, list) else [value]


Check = Callable[[CheckedCard], Iterator[Finding]]
