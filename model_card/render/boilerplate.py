"""READMEs that a training library wrote by itself, which a card may replace."""

from __future__ import annotations

import re
from importlib.resources import files

from model_card.publishing.front_matter import split
from model_card.publishing.sections import MARKER

# The lines of the cards that TRL's trainers, the Trainer and PEFT write. A single line that is
# none of these is a person's.
_LINES = re.compile(
    r"""
    \#\ Model\ Card\ for\ .*
    | \#\#\#?\ (Quick\ start|Training\ procedure|Framework\ versions|Citations)
    | This\ model\ is\ a\ fine-tuned\ version\ of\ .*
    | It\ has\ been\ trained\ using\ \[TRL\].*
    | This\ model\ was\ trained\ with\ .*
    | \[<img\ src=.*
    | -\ (TRL|PEFT|Transformers|Pytorch|Datasets|Tokenizers):?\ .*
    | Cite\ .*\ as:
    """,
    re.VERBOSE,
)
_CODE = re.compile(r"^```.*?^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)
_EXPRESSION = re.compile(r"\{\{[^}]*?default\(\s*\"(?P<text>[^\"]*)\"[^}]*\}\}")


def is_generated(text: str) -> bool:
    """Whether every line of the README is one that a training library writes by itself."""
    _, body = split(text)
    if MARKER.search(body) or not body.strip():
        return False
    lines = [line.strip() for line in _CODE.sub("", body).splitlines() if line.strip()]
    default = _default_lines()
    return all(_LINES.fullmatch(line) or line in default for line in lines)


def _default_lines() -> set[str]:
    """The lines of the Hub client's empty model card, on which PEFT's is built."""
    template = files("huggingface_hub") / "templates" / "modelcard_template.md"
    text = _EXPRESSION.sub(lambda match: match["text"], template.read_text(encoding="utf-8"))
    return {line.strip() for line in text.splitlines() if line.strip()}
