"""Our sections of a README, each between two markers, with other people's text around them.

    <!-- kosent:begin NAME HASH -->
    ...
    <!-- kosent:end NAME -->

HASH is the hash of the text that we wrote: when it differs, a person has edited the section. An
edited section is theirs: it stays as it is until they ask for ours again.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass

from model_card.publishing.errors import KoSentError

NAME = re.compile(r"[a-z][a-z0-9-]*")
MARKER = re.compile(
    r"^<!-- kosent:(?P<kind>begin|end) (?P<name>[a-z][a-z0-9-]*)"
    r"(?: (?P<hash>[0-9a-f]{12}))? -->[ \t]*(?=\r?$)",
    re.MULTILINE,
)


class MarkerError(KoSentError):
    """A marker of a README that has no counterpart, or that is there twice, and its line."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(f"README.md, line {line}", what, remedy)
        self.line = line


@dataclass(frozen=True)
class Section:
    """A marked section as found: its text, its place, and whether a person has changed it."""

    name: str
    text: str
    start: int
    end: int
    edited: bool


def merge(existing: str | None, sections: dict[str, str], *, replace_edits: bool = False) -> str:
    """README text in which our sections are exactly `sections`, the rest byte for byte as it was.

    A section keeps its place; a new one follows the one before it in `sections`, or precedes the
    one after it, or comes last. A section of ours that is not in `sections` is removed, with the
    blank line that set it off. A section that a person edited inside its markers stays as it is,
    unless `replace_edits` (see `edits`). A last line without a line end gets one.

    Raises:
        MarkerError: a marker without its counterpart, or a name twice.
    """
    text = existing or ""
    newline = "\r\n" if "\r\n" in text else "\n"
    found = {section.name: section for section in find(text)}
    kept = {name for name in _edited(text, sections) if not replace_edits}

    pieces: list[tuple[str | None, str]] = []  # (name, block) of ours, (None, text) of others
    position = 0
    for section in found.values():
        before, position = text[position : section.start], section.end
        if section.name in kept:
            block = text[section.start : section.end]
            pieces += [(None, before), (section.name, block)]
        elif section.name in sections:
            block = _block(section.name, sections[section.name], newline)
            pieces += [(None, before), (section.name, block)]
        elif before or any(part for _, part in pieces):
            pieces.append((None, before.removesuffix(2 * newline)))
        else:
            position += len(_gap_after(text, section.end, newline))
    pieces.append((None, text[position:]))

    order = list(sections)
    for index, name in enumerate(order):
        if name not in found:
            block = _block(name, sections[name], newline)
            _insert(pieces, name, block, order[:index], order[index + 1 :], newline)
    return "".join(part for _, part in pieces)


def find(text: str) -> list[Section]:
    """The marked sections in `text`, in order of appearance; raises MarkerError."""
    sections: list[Section] = []
    begin: re.Match[str] | None = None
    for marker in MARKER.finditer(text):
        name, line = marker["name"], text.count("\n", 0, marker.start()) + 1
        if marker["kind"] == "begin":
            if begin is not None:
                raise _unbalanced(text, begin, "has no end marker before the next begin")
            if any(section.name == name for section in sections):
                raise MarkerError(
                    line, f"a second section {name!r}", "delete one of the two, markers included"
                )
            begin = marker
            continue
        if begin is None or begin["name"] != name:
            raise _unbalanced(text, begin or marker, "has no counterpart")
        inner = _normal(text[begin.end() : marker.start()])
        edited = begin["hash"] != _hash(inner)
        sections.append(Section(name, inner, begin.start(), marker.end(), edited))
        begin = None
    if begin is not None:
        raise _unbalanced(text, begin, "has no end marker")
    return sections


def edits(existing: str | None, sections: dict[str, str]) -> str:
    """Unified diff from people's edits inside our markers to our own text, "" without edits."""
    shown: list[str] = []
    for name, section in _edited(existing or "", sections).items():
        shown.extend(
            difflib.unified_diff(
                section.text.splitlines(),
                _normal(sections.get(name, "")).splitlines(),
                f"README.md, {name}: as it is",
                f"README.md, {name}: from the records",
                lineterm="",
            )
        )
    return "\n".join(shown)


def _edited(text: str, sections: dict[str, str]) -> dict[str, Section]:
    """The sections that a person edited, but those whose text is that of `sections` anyway."""
    return {
        section.name: section
        for section in find(text)
        if section.edited and section.text != _normal(sections.get(section.name, ""))
    }


def _block(name: str, body: str, newline: str) -> str:
    body = _normal(body)
    if not NAME.fullmatch(name) or MARKER.search(body):
        raise ValueError(f"section {name!r}: a bad name, or a marker inside its text")
    lines = f"<!-- kosent:begin {name} {_hash(body)} -->\n\n{body}\n\n<!-- kosent:end {name} -->"
    return lines.replace("\n", newline)


def _insert(
    pieces: list[tuple[str | None, str]],
    name: str,
    block: str,
    before: list[str],
    after: list[str],
    newline: str,
) -> None:
    """Insert the block after its predecessor, else before its successor, else at the end."""
    places = {place: index for index, (place, _) in enumerate(pieces) if place is not None}
    gap: tuple[None, str] = (None, 2 * newline)
    predecessor = next((places[other] for other in reversed(before) if other in places), None)
    successor = next((places[other] for other in after if other in places), None)
    if predecessor is not None:
        pieces[predecessor + 1 : predecessor + 1] = [gap, (name, block)]
    elif successor is not None:
        pieces[successor:successor] = [(name, block), gap]
    else:
        text = "".join(part for _, part in pieces)
        if not text:
            gap = (None, "")
        elif text.endswith(newline):
            gap = (None, newline)
        pieces.extend([gap, (name, block), (None, newline)])


def _gap_after(text: str, end: int, newline: str) -> str:
    """What sets the section at the very start off: from our next one, else from what follows."""
    if text.startswith(2 * newline, end) and MARKER.match(text, end + 2 * len(newline)):
        return 2 * newline
    return newline if text.startswith(newline, end) else ""


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n").strip("\n")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _unbalanced(text: str, marker: re.Match[str], what: str) -> MarkerError:
    line = text.count("\n", 0, marker.start()) + 1
    return MarkerError(
        line,
        f"the marker kosent:{marker['kind']} {marker['name']} {what}",
        "put it back, or delete this line",
    )
