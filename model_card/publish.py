"""A model repo brought up to date in one commit: new files, the card they make, its pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from model_card.facts import Facts, gather
from model_card.licenses import known_license, terms_files, trained_from
from model_card.publishing import front_matter
from model_card.publishing.commit import Head, commit, read_head
from model_card.publishing.errors import explain
from model_card.publishing.files import decode_text
from model_card.publishing.sections import edits, merge
from model_card.records import PLOTS_FOLDER, Repo
from model_card.render.boilerplate import is_generated
from model_card.render.card import card_sections, languages_of, render_facts
from model_card.render.judgement_tables import judgement_picture, preferences
from model_card.render.model_index import EVAL_RESULTS_PATH, eval_results
from model_card.render.plots import emotion_plot, training_plots, win_rate_plot
from model_card.render.score_tables import emotion_picture

README = "README.md"


def publish(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    create_pr: bool = False,
    private: bool | None = None,
    language: str | None = None,
    replace_edits: bool = False,
    api: HfApi | None = None,
) -> str:
    """URL of the commit (or pull request) with `files` and the card made from all records.

    The card is rendered from the records that the repo will hold afterwards, on top of the README
    that it has now: other people's text and metadata stay, and so does what they changed inside
    our sections, with a warning that shows the difference (unless `replace_edits`). A README.md in
    `files` counts as a draft: it is used where the repo has no text that it lacks. A missing repo
    is created, privately unless `private=False`.

    Raises:
        KoSentError: see `commit`; or a record that cannot be read.
    """
    api = api or HfApi()
    base = BaseRepo(api)
    shown: set[str] = set()  # a commit that lost a race is built again

    def build(head: Head) -> list[CommitOperationAdd]:
        after = _overlay(head, files)
        draft = files.get(README)
        existing = _existing(head.read(README), None if draft is None else _bytes(draft), shown)
        facts = gather([*head.paths(), *files], after, repo_id)
        facts = with_license(facts, base.license)
        new: dict[str, Path | bytes] = {k: v for k, v in files.items() if k != README}
        owed = base.notices(facts.run.base_model) if facts.run is not None else {}
        new |= {path: data for path, data in owed.items() if path not in facts.paths}
        facts = replace(facts, paths=facts.paths | new.keys())
        if not replace_edits:
            diff = kept_edits(facts, repo_id, language, existing)
            if diff not in shown:
                show_kept_edits(diff, repo_id)
            shown.add(diff)
        text = render_facts(
            facts,
            repo_id=repo_id,
            language=language,
            existing=existing,
            replace_edits=replace_edits,
        )
        new |= {README: text.encode()} | extras(facts, repo_id)
        return additions(new)

    # A model may be public: `private` only says how a missing repo is created.
    return commit(
        repo_id,
        build,
        message=message,
        private=None if private else private,
        create_pr=create_pr,
        api=api,
    )


def additions(files: Mapping[str, Path | bytes]) -> list[CommitOperationAdd]:
    """The operations that add these files."""
    return [CommitOperationAdd(path, data) for path, data in sorted(files.items())]


def extras(facts: Facts, repo_id: str | None) -> dict[str, bytes]:
    """The files that a card needs beside it: pictures, and the scores in the Hub's own form."""
    files = plots(facts)
    scores = eval_results(facts.results, repo_id) if repo_id else None
    return files if scores is None else files | {EVAL_RESULTS_PATH: scores}


def plots(facts: Facts) -> dict[str, bytes]:
    """The card's pictures, by their path in the repo."""
    files = {f"{PLOTS_FOLDER}/{n}": png for n, png in training_plots(facts.log_history).items()}
    for results in facts.results:
        picture = emotion_plot(results)
        if picture is not None:
            files[emotion_picture(results)] = picture
    for found in facts.judgements:
        picture = win_rate_plot(preferences(found))
        if picture is not None:
            files[judgement_picture(found)] = picture
    return files


def kept_edits(
    facts: Facts, repo_id: str | None, language: str | None, existing: str | None
) -> str:
    """What people changed inside our sections and we would change back, as a diff ("" if none)."""
    if existing is None:
        return ""
    return edits(existing, card_sections(facts, repo_id, language or languages_of(existing)))


def show_kept_edits(diff: str, where: object) -> None:
    """Print on stderr what `kept_edits` found in the README at `where`; nothing for ""."""
    if diff:
        print(diff, file=sys.stderr)
        print(
            f"{where}: kept what was changed by hand inside our sections (above); "
            "--replace-edits puts the records' text back",
            file=sys.stderr,
        )


def with_license(facts: Facts, look_up: Callable[[str, str | None], str | None]) -> Facts:
    """The facts with the base model's licence looked up, if it is not a well-known one."""
    if facts.run is None or facts.license is not None:
        return facts
    base = facts.run.base_model
    return replace(facts, license=look_up(base.id, None if base.local else base.revision))


def _overlay(head: Head, files: Mapping[str, Path | bytes]) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        return _bytes(files[path]) if path in files else head.read(path)

    return read


def _bytes(data: Path | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.read_bytes()


def _existing(there: bytes | None, draft: bytes | None, shown: set[str]) -> str | None:
    """The README to start from: the repo's, or the draft if it has all of the repo's text."""
    if there is None or is_generated(text := decode_text(there, README)):
        return None if draft is None else decode_text(draft, README)
    if draft is None:
        return text
    mine, theirs = (
        {
            line.strip()
            for line in merge(front_matter.split(side)[1], {}, replace_edits=True).split("\n")
        }
        for side in (decode_text(draft, README), text)
    )
    if theirs <= mine:
        return decode_text(draft, README)
    if mine - theirs and "draft" not in shown:
        shown.add("draft")
        print(
            "README.md: the text around our sections differs from the repo's; the repo's is kept. "
            "To publish yours, add it to the README on the Hub",
            file=sys.stderr,
        )
    return text


class BaseRepo:
    """Base models' repos, each read once; one that cannot be read is named on stderr."""

    def __init__(self, api: HfApi) -> None:
        self._api = api
        self._heads: dict[str, Head | None] = {}

    def license(self, base_model: str, revision: str | None) -> str | None:
        """The licence that the base model's card states; None if it cannot be known."""
        card = self._read(base_model, revision, "README.md")
        if card is None:
            return None
        stated = front_matter.read(card.decode("utf-8", "replace")).get("license")
        return stated if isinstance(stated, str) and stated != "other" else None

    def notices(self, base: Repo) -> dict[str, bytes]:
        """The files that a base's licence requires beside what is trained from it: its texts, and
        the notice."""
        revision = None if base.local else base.revision
        return terms_files(
            known_license(base.id) or self.license(base.id, revision),
            trained_from(base.id),
            lambda path: self._read(base.id, revision, path),
            base.id,
        )

    def _read(self, base_model: str, revision: str | None, path: str) -> bytes | None:
        """A file of the repo; None if it has none, or cannot be read: then it is not tried again.

        A gated repo lists its files to anybody but refuses downloads (403).
        """
        try:
            if base_model not in self._heads:
                self._heads[base_model] = read_head(base_model, revision=revision, api=self._api)
            head = self._heads[base_model]
            return head.read(path) if head is not None else None
        except Exception as error:
            # A card does not depend on its base model's repo; `check` says what is missing.
            line = explain(error)
            if line is None:
                raise
            print(f"{base_model}: its licence could not be read there ({line})", file=sys.stderr)
            self._heads[base_model] = None
            return None
