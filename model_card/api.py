"""`kosent-card` from Python: `render`, `check` and `push` are one function each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_card.check import checks
from model_card.check.card import ERROR, Finding
from model_card.publish import publish
from model_card.publishing import session
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.repo import render_repo
from model_card.run_folder import record_files, write_card


@dataclass(frozen=True)
class RenderedCard:
    """A card's text and the file that it was written to, None if to none."""

    text: str
    path: Path | None


@dataclass(frozen=True)
class CheckedSource:
    """What is wrong with the card of `source`, in order of lines."""

    source: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings must be fixed."""
        return sum(finding.level == ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are to be considered."""
        return len(self.findings) - self.errors


def render_card(
    source: str | Path,
    output: str | Path | None = None,
    *,
    language: str | None = None,
    replace_edits: bool = False,
) -> RenderedCard:
    """The card of a run folder or of a model on the Hub, made from its records.

    A run folder's is written to `output` or else to the folder's README.md, its pictures beside
    it; a repo's only if there is an `output`. Text of others in that README stays, and so do edits
    inside our sections, which are shown on stderr.

    Args:
        source: a run folder, or a Hub id.
        output: the file to write.
        language: "ko", "en" or "both" (Korean first); None keeps that of the README as it is, and
            is "both" for a new one.
        replace_edits: put our text back where a section of ours was changed by hand.

    Raises:
        KoSentError: no records in `source`, or one that cannot be read.
    """
    session.install()
    folder, path = Path(source), None if output is None else Path(output)
    if folder.is_dir():
        path, text = write_card(folder, path, language, replace_edits=replace_edits)
        return RenderedCard(text, path)
    text = render_repo(str(source), language, replace_edits=replace_edits)
    if path is not None:
        atomic_write(path, text.encode())
    return RenderedCard(text, path)


def check_card(source: str | Path, *, corpus: str | Path | None = None) -> CheckedSource:
    """What is wrong with the card of a run folder, or of a model on the Hub.

    Args:
        source: a folder with a README.md, or a Hub id.
        corpus: a dataset folder no sentence of which may be in the card.

    Raises:
        KoSentError: no card in `source`, or no dataset in `corpus`.
    """
    session.install()
    folder = Path(source)
    card, more = checks.check_folder(folder) if folder.is_dir() else checks.check_repo(str(source))
    sentences = checks.corpus_sentences(Path(corpus)) if corpus else frozenset()
    findings = sorted([*checks.check(card, sentences), *more])
    return CheckedSource(str(source), tuple(findings))


def publish_card(
    run: str | Path,
    repo_id: str,
    *,
    create_pr: bool = False,
    language: str | None = None,
    replace_edits: bool = False,
) -> str:
    """URL of the commit, or pull request, that brings a run folder's records and card to the Hub.

    Args:
        run: the run folder.
        repo_id: the model repo; created, privately, if there is none.
        create_pr: open a pull request instead.
        language: as for `render_card`.
        replace_edits: as for `render_card`.

    Raises:
        KoSentError: no such folder, no records in it, or what the Hub refuses.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise KoSentError(run, "no such folder", "give the run folder of a training")
    session.install()
    return publish(
        repo_id,
        record_files(folder),
        message="Update the model card",
        create_pr=create_pr,
        language=language,
        replace_edits=replace_edits,
    )
