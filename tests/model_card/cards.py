"""Whole cards as they should be; `python -m tests.model_card.cards` writes them, to be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model_card.facts import gather_folder
from model_card.render.card import render_facts

HERE = Path(__file__).parent
RECORDS = HERE / "records"
LLAMA = "kosent/Llama-3.1-8B-KoSent"

# name: record folder, repo id, language
CARDS = {
    "adapter": ("adapter", None, "both"),
    "adapter-unscored": ("adapter-unscored", None, "ko"),
    "adapter-no-baseline": ("adapter-no-baseline", "alice/SmolLM2-135M-KoSent", "en"),
    "llama": ("llama", LLAMA, "ko"),
    "merged": ("merged", f"{LLAMA}-merged", "en"),
    "somebody-elses": ("llama", "bob/Korean-Chat-7B", "ko"),
}


def card(name: str) -> str:
    """The card of that name, made from its records; somebody else's has scores and no run."""
    folder, repo_id, language = CARDS[name]
    facts = gather_folder(RECORDS / folder)
    if name == "somebody-elses":
        facts = replace(facts, run=None, log_history=[])
        their_card = "---\nlicense: mit\n---\n# Korean-Chat-7B\n\nA chat model.\n"
        return render_facts(facts, repo_id=repo_id, language=language, existing=their_card)
    return render_facts(facts, repo_id=repo_id, language=language)


def path(name: str) -> Path:
    return HERE / "cards" / f"{name}.md"


if __name__ == "__main__":
    for name in CARDS:
        path(name).parent.mkdir(exist_ok=True)
        path(name).write_text(card(name), encoding="utf-8", newline="")
