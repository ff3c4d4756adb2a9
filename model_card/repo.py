"""The card of a model repo on the Hub, made again from the records that the repo holds."""

from __future__ import annotations

from functools import cache

from model_card.facts import Facts, gather
from model_card.preview.server import Card, Source, files_version
from model_card.publish import README, plots
from model_card.publishing.commit import Head, read_head
from model_card.publishing.errors import KoSentError
from model_card.publishing.hub_ids import is_hub_id
from model_card.records import EVAL_FOLDER, RUN_PATH
from model_card.render.card import render_facts


def render_repo(repo_id: str, language: str | None, *, replace_edits: bool = False) -> str:
    """The README that the repo's own records make of its README, as it would be pushed."""
    head = repo_head(repo_id)
    facts = gather(head.paths(), head.read, repo_id)
    if not has_records(facts):
        raise KoSentError(
            repo_id,
            f"neither {RUN_PATH} nor {EVAL_FOLDER}/*.json in it",
            "evaluate it with kosent-eval --push, or give a run folder",
        )
    return render_facts(
        facts,
        repo_id=repo_id,
        language=language,
        existing=_readme(head),
        replace_edits=replace_edits,
    )


def preview_source(repo_id: str, language: str | None) -> Source:
    """A repo's card for the preview: made from its records, or as it is where it has none."""
    head = repo_head(repo_id)
    facts = gather(head.paths(), head.read, repo_id)
    there = _readme(head)
    read = cache(head.read)

    def build() -> Card:
        text = there or ""
        if has_records(facts):
            text = render_facts(facts, repo_id=repo_id, language=language, existing=there)
        drawn = plots(facts)
        return Card(
            title=repo_id,
            text=text,
            other=there,
            other_name=f"README.md of {repo_id} now",
            read=lambda path: drawn.get(path) or read(path),
        )

    return Source(build, lambda: files_version(None))


def readme_of(repo_id: str) -> str | None:
    """The README that the repo has now, None if it has none or there is no such repo yet."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return _readme(read_head(repo_id))
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None


def repo_head(repo_id: str) -> Head:
    """The repo as it is now; raises KoSentError for what is neither a folder nor a Hub id."""
    if not is_hub_id(repo_id):
        raise KoSentError(repo_id, "no such folder, and not a Hub id (ORG/NAME)")
    return read_head(repo_id)


def has_records(facts: Facts) -> bool:
    """Whether there is anything of ours to make a card from."""
    return facts.run is not None or bool(facts.results)


def _readme(head: Head) -> str | None:
    data = head.read(README)
    return data.decode("utf-8", "replace") if data is not None else None
