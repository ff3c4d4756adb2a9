"""Text from records and models, escaped for a card.

Everything that a template prints goes through `escape`, unless it is `Markdown` already. Escapes
are character references: unlike a backslash, they mean the same in Markdown, in a table's cell
and in HTML, and none of them can end up as a sign of TeX mathematics.
"""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import quote

from model_card.publishing.hub_ids import is_hub_id

HUB = "https://huggingface.co"

_STRUCTURE = {ord(sign): f"&#{ord(sign)};" for sign in '\\`*[]|~#$<>&"'}
# Underscores inside a word emphasise nothing, and names are full of them.
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
# Renderers turn bare addresses into links; a word joiner inside keeps them text.
_ADDRESS = re.compile(r"(?i)(?<=http)(?=s?:)|(?<=https)(?=:)|(?<=ftp)(?=:)|(?<=www)(?=\.)|(?<=@)")
_JOINER = "\u2060"


class Markdown(str):
    """Text that is Markdown on purpose: `escape` leaves it alone."""

    __slots__ = ()


def escape(value: object) -> str:
    """`value` as one line of text that cannot format, link, embed or close anything."""
    if isinstance(value, Markdown):
        return value
    text = _ADDRESS.sub(_JOINER, plain(str(value)))
    return _UNDERSCORE.sub("&#95;", text.translate(_STRUCTURE))


def plain(text: str) -> str:
    """One line of visible characters: no controls, no direction overrides, no line breaks."""
    visible = "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        or character in "\t\n\r\u200d"
        else " "
        for character in text
    )
    return " ".join(visible.split())


def code(value: object, *, in_table: bool = True) -> Markdown:
    """A code span; in a table, where a bar ends the cell, text with a bar is escaped instead."""
    text = plain(str(value))
    if not text or (in_table and "|" in text):
        return Markdown(escape(text))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if "`" in text[:1] + text[-1:] else ""
    return Markdown(f"{fence}{pad}{text}{pad}{fence}")


def fenced(text: str, language: str = "") -> Markdown:
    """A code block that its own text cannot close, and that holds no marker of ours."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("<!--", f"<!{_JOINER}--")
    clean = "".join(
        c for c in lines if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp")
    )
    longest = max((len(run) for run in re.findall("`+", clean)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{clean.strip(chr(10))}\n{fence}")


def hub_link(repo_id: str, kind: str = "", revision: str | None = None) -> Markdown:
    """A link to a Hub repo (`kind` "datasets/" for a dataset); a code span if it is no Hub id."""
    if not is_hub_id(repo_id):
        return code(repo_id)
    tree = f"/tree/{quote(revision, safe='')}" if revision else ""
    return Markdown(f"[{repo_id}]({HUB}/{kind}{repo_id}{tree})")


def html_text(value: object) -> Markdown:
    """The text as the content of an HTML element on its own lines; line breaks become <br>."""
    lines = [plain(line) for line in str(value).replace("\r", "\n").split("\n")]
    kept = [line for line in lines if line]
    safe = "<br>".join(html.escape(_ADDRESS.sub(_JOINER, line)) for line in kept)
    # For renderers that look for Markdown or TeX inside HTML.
    for sign in "\\`*[]|~$_":
        safe = safe.replace(sign, f"&#{ord(sign)};")
    return Markdown(safe)
