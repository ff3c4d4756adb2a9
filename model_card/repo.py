"""A model repo on the Hub: its head, its README, and its card made again from its records."""

from __future__ import annotations

from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from model_card.facts import gather
from model_card.publish import README
from model_card.publishing.commit import Head, read_head
from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id
from model_card.render.card import render_facts


def render_repo(repo_id: str, language: str | None, *, replace_edits: bool = False) -> str:
    """The repo's README with our sections made from its own records, as a push would write it."""
    head = repo_head(repo_id)
    facts = gather(head.paths(), head.read, repo_id).require(
        repo_id, "evaluate it with kosent-eval --push, or give a run folder"
    )
    return render_facts(
        facts,
        repo_id=repo_id,
        language=language,
        existing=readme_at(head),
        replace_edits=replace_edits,
    )


def repo_head(repo_id: str) -> Head:
    """The repo at its newest commit; raises KoSentError for what is neither folder nor Hub id."""
    if not is_hub_id(repo_id):
        raise KoSentError(repo_id, "no such folder, and not a Hub id (ORG/NAME)")
    return read_head(repo_id)


def readme_at(head: Head) -> str | None:
    """The README at that commit, None if there is none."""
    data = head.read(README)
    return data.decode("utf-8", "replace") if data is not None else None


def readme_of(repo_id: str) -> str | None:
    """The README that the repo has now, None if it has none or there is no such repo yet."""
    try:
        return readme_at(read_head(repo_id))
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None
