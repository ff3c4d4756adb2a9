"""The card of a model repo on the Hub, made again from the records that the repo holds."""

from __future__ import annotations

from model_card.commit import read_head
from model_card.errors import KoSentError
from model_card.facts import gather
from model_card.publish import README
from model_card.records import EVAL_FOLDER, RUN_PATH
from model_card.render import render_facts


def render_repo(repo_id: str, language: str | None, *, replace_edits: bool = False) -> str:
    """The README that the repo's own records make of its README, as it would be pushed."""
    if repo_id.count("/") != 1:
        raise KoSentError(f"{repo_id}: no such folder, and not a Hub id (ORG/NAME)")
    head = read_head(repo_id)
    facts = gather(head.paths(), head.read, repo_id)
    if facts.run is None and not facts.results:
        raise KoSentError(
            f"{repo_id}: neither {RUN_PATH} nor {EVAL_FOLDER}/*.json in it; "
            "evaluate it with kosent-eval --push, or give a run folder"
        )
    existing = head.read(README)
    return render_facts(
        facts,
        repo_id=repo_id,
        language=language,
        existing=existing.decode("utf-8") if existing is not None else None,
        replace_edits=replace_edits,
    )
