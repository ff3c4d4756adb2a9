"""`kosent-card check`: what is wrong with a card, where, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import get_session

from model_card.check.body import check_code, check_links, check_markers, check_placeholders
from model_card.check.card import ERROR, WARNING, Check, CheckedCard, Finding
from model_card.check.metadata import (
    check_complete,
    check_model_index,
    check_relation,
    check_values,
    check_yaml,
)
from model_card.check.rules import (
    check_against,
    check_corpus,
    check_credit,
    check_judges,
    check_license,
    check_limits,
    check_scores,
    check_secrets,
    check_terms,
)
from model_card.facts import gather, gather_folder
from model_card.publish import README, BaseRepo, with_license
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.repo import repo_head

# Shorter sentences of the corpus are too common to be recognised.
MIN_SENTENCE = 12

CHECKS: tuple[Check, ...] = (
    check_yaml,
    check_complete,
    check_values,
    check_relation,
    check_model_index,
    check_license,
    check_terms,
    check_credit,
    check_scores,
    check_judges,
    check_limits,
    check_links,
    check_code,
    check_markers,
    check_placeholders,
    check_secrets,
    check_corpus,
)


def check(card: CheckedCard, corpus: frozenset[str] = frozenset()) -> list[Finding]:
    """Everything that is wrong with a card, in order of lines."""
    found = {finding for run in CHECKS for finding in run(card)}
    return sorted(found | set(check_against(card, corpus)))


def check_folder(folder: Path) -> tuple[CheckedCard, list[Finding]]:
    """The card of a run folder, or of any folder with a README.md, to be checked offline."""
    path = folder / README
    if not path.is_file():
        raise KoSentError(path, "no card there", f"write it with kosent-card render {folder}")
    facts = gather_folder(folder)
    card = CheckedCard(
        text=decode_text(path.read_bytes(), str(path)),
        name=facts.run.model_name if facts.run else folder.resolve().name,
        paths=facts.paths,
        read=lambda name: (folder / name).read_bytes() if name in facts.paths else None,
        facts=facts,
        base_license=lambda base: facts.license,
    )
    return card, []


def check_repo(repo_id: str) -> tuple[CheckedCard, list[Finding]]:
    """The card of a repo on the Hub, and what the Hub itself says about its metadata."""
    api = HfApi()
    head = repo_head(repo_id)
    data = head.read(README)
    if data is None:
        raise KoSentError(repo_id, "no README.md in this repo", "write one with kosent-card push")
    base = BaseRepo(api)
    text = decode_text(data, f"{repo_id}/{README}")
    facts = with_license(gather(head.paths(), head.read, repo_id), base.license)
    card = CheckedCard(
        text=text,
        name=repo_id,
        pushed=True,
        paths=frozenset(head.paths()),
        read=head.read,
        facts=facts,
        base_license=lambda name: base.license(name, None),
    )
    return card, list(_ask_hub(text, api.endpoint))


def corpus_sentences(dataset: Path) -> frozenset[str]:
    """The sentences of a dataset folder, without those too short to be recognised."""
    import pyarrow.parquet as parquet

    files = sorted(dataset.glob("data/*.parquet"))
    if not files:
        raise KoSentError(dataset, "no data/*.parquet in it", "give a folder of kosent-data build")
    sentences = set()
    for path in files:
        for dialogue in parquet.read_table(path, columns=["messages"])["messages"].to_pylist():
            for message in dialogue:
                text = " ".join(message["content"].split())
                if message["role"] != "system" and len(text) >= MIN_SENTENCE:
                    sentences.add(text)
    return frozenset(sentences)


def as_text(findings: Iterable[Finding]) -> str:
    """A line per finding: where, how bad, what, and the remedy."""
    return "\n".join(
        f"{README}:{f.line}: {f.level}: {f.message} [{f.code}]\n    {f.remedy}" for f in findings
    )


def _ask_hub(text: str, endpoint: str) -> Iterator[Finding]:
    """The Hub's own findings about the metadata; a line on stderr if it does not answer."""
    url = f"{endpoint}/api/validate-yaml"
    try:
        answer = get_session().post(url, json={"content": text, "repoType": "model"}, timeout=30)
        problems = answer.json()
    except (HTTPError, ValueError) as error:
        print(f"{url}: not asked about the metadata ({type(error).__name__})", file=sys.stderr)
        return
    for level, key in ((ERROR, "errors"), (WARNING, "warnings")):
        for problem in problems.get(key) or []:
            message = f"the Hub says: {problem.get('message')}"
            yield Finding(1, level, "hub", " ".join(message.split()), "fix the metadata")
