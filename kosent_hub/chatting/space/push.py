"""`kosent-chat MODEL --space ORG/NAME`: a Space that shows the page, written and pushed."""

from __future__ import annotations

import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationDelete, HfApi
from jinja2 import Environment, PackageLoader, StrictUndefined

from kosent_hub.chatting.options import Options
from kosent_hub.chatting.page.server import check_gradio
from kosent_hub.chatting.words import IN_SPACE, LANGUAGES, NOTICE
from kosent_hub.evaluation.safety.crisis import crisis_line
from kosent_hub.models.locate import Located, ModelRef, locate
from kosent_hub.models.machine.wheel import build_wheel, pinned
from model_card.check.card import ERROR, CheckedCard, Finding
from model_card.check.checks import check, check_repo
from model_card.licenses import TERMS_PATHS, known_license, space_refused, terms
from model_card.publish import README, additions
from model_card.publishing import front_matter, session
from model_card.publishing.commit import Head, Operation, commit, read_head
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text
from model_card.publishing.hub_ids import is_hub_id
from model_card.publishing.sections import merge

APP, REQUIREMENTS = "app.py", "requirements.txt"
# What app.py begins with: a Space that begins otherwise is somebody else's work.
MARK = '"""A chat, written by `kosent-chat --space`; the same command writes it again."""'
# Options of a chat here that mean nothing in a Space, or would make it run what a stranger wrote.
NOT_THERE = (
    *("terminal", "port", "endpoint", "i_may_send_this_text", "baseline", "chat_template"),
    *("new_chat_format", "trust_remote_code"),
)
TERMS = re.compile(rf"(?i)({'|'.join(map(re.escape, TERMS_PATHS))})(\.md|\.txt)?")
LICENSE_KEYS = ("license", "license_name", "license_link")
# Metadata that is always ours; all other is the owner's once it is there.
FIXED = ("sdk", "sdk_version", "python_version", "app_file", "models", "datasets", *LICENSE_KEYS)


def push_space(
    options: Options, repo_id: str, *, public: bool = False, replace: bool = False
) -> str:
    """URL of the commit with a Space in which anybody who may see it can talk to the model.

    A missing Space is created, privately unless `public`. `replace`: write over a Space that
    something else made.

    Raises:
        KoSentError: a model that is no repo of the Hub, or whose card or base's licence stands
            against it; a Space that something else made; no checkout to make the wheel from.
    """
    _refuse_options(options)
    check_gradio()
    session.install()
    model = _read_model(options, public=public)
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder), "--space", "chat")
        files: dict[str, Path | bytes] = {
            wheel.name: wheel,
            REQUIREMENTS: ("\n".join(pinned(wheel, "chat")) + "\n").encode(),
            APP: _app(options, model, wheel.name),
            **model.texts,
        }

        def build(head: Head) -> list[Operation]:
            ours = _is_ours(head, replace=replace)
            readme = head.read(README) if ours else None
            existing = None if readme is None else decode_text(readme, f"{repo_id}/{README}")
            new = additions(files | {README: _readme(model, existing).encode()})
            old = [path for path in head.paths() if re.fullmatch(r"kosent_hub-.*\.whl", path)]
            return [*new, *(CommitOperationDelete(path) for path in old if path not in files)]

        url = commit(
            repo_id,
            build,
            message=f"Talk to {model.id}",
            repo_type="space",
            # A Space may be public: this only says how a missing one is created.
            private=False if public else None,
        )
    if model.secret:
        page = f"{HfApi().endpoint}/spaces/{repo_id}/settings"
        print(
            f"{model.secret} cannot be read without a token: add one that may read it, and nothing "
            f"else, as the secret HF_TOKEN at {page}",
            file=sys.stderr,
        )
    return url


@dataclass(frozen=True)
class _Model:
    """The model of a Space at a commit, its base, its card's metadata, and the terms' files.

    `base` is None for a model that is no adapter; `license` is the one that the model inherits;
    `secret` names the repos that nobody can read without a token, "" for none.
    """

    id: str
    revision: str
    base: str | None
    card: Mapping[str, Any]
    license: str | None
    texts: Mapping[str, bytes]
    secret: str


def _refuse_options(options: Options) -> None:
    """Raise KoSentError for an option that a Space does without."""
    for field in fields(options):
        if field.name in NOT_THERE and getattr(options, field.name) != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            raise KoSentError(flag, "means nothing in a Space", f"leave {flag} or --space out")


def _read_model(options: Options, *, public: bool) -> _Model:
    """The model as the Hub has it; raises KoSentError where it may not be shown in a Space."""
    if Path(options.model).is_dir() or not is_hub_id(options.model):
        raise KoSentError(
            options.model,
            "is no repo of the Hub, and a Space loads its model from there",
            "push it first: kosent-train push RUN --repo-id ORG/NAME",
        )
    located = locate(ModelRef(options.model, options.revision))
    card, _ = check_repo(options.model)
    for finding in check(card):
        if _stands_against(finding):
            raise KoSentError(
                options.model,
                f"its card keeps it out of a Space: {finding.message} [{finding.code}]",
                f"{finding.remedy}; then ask kosent-card check {options.model}",
            )
    inherited = _check_licenses(located, card, public=public)
    head = read_head(options.model, revision=located.repo.revision)
    base = located.base.id if located.adapter else None
    return _Model(
        options.model,
        str(head.sha),
        base,
        card.data,
        inherited,
        _terms_of(head),
        " and ".join(name for name in (options.model, base) if name and _is_closed(name)),
    )


def _stands_against(finding: Finding) -> bool:
    """Whether a finding is about a licence, or about help for people in need."""
    licence = finding.code.startswith(("license", "llama", "gemma"))
    return (licence and finding.level == ERROR) or finding.code == "help-missing"


def _check_licenses(located: Located, card: CheckedCard, *, public: bool) -> str | None:
    """The licence that the model inherits from its base, or has where it has no base.

    Raises KoSentError where a licence is against a Space.
    """
    own = next(map(str, card.values("license")), None)
    found = [(located.model_id, own)]
    bases = [located.base.id] if located.adapter else map(str, card.values("base_model"))
    for base in bases:
        found.append((base, known_license(base) or card.base_license(base)))
    for name, license_id in found:
        if (refused := space_refused(license_id, public=public, base_model=name)) is not None:
            raise KoSentError(name, *refused)
    return found[-1][1]


def _terms_of(head: Head) -> dict[str, bytes]:
    """The files with licences that lie beside the model."""
    return {path: head.read(path) or b"" for path in head.paths() if TERMS.fullmatch(path)}


def _is_closed(name: str) -> bool:
    found = HfApi().model_info(name)
    return bool(found.private or found.gated)


def _is_ours(head: Head, *, replace: bool) -> bool:
    """Whether the Space was written by this command; raises KoSentError for other people's work.

    A new one holds a README that the Hub wrote.
    """
    app = head.read(APP)
    if app is not None and app.startswith(MARK.encode()):
        return True
    others = set(head.paths()) - {".gitattributes", README}
    if others and not replace:
        raise KoSentError(
            head.repo_id,
            f"this Space holds {min(others)}, which kosent-chat did not write",
            "name another one, or add --replace to write over its app.py, README.md and "
            "requirements.txt",
        )
    return False


def _app(options: Options, model: _Model, wheel: str) -> bytes:
    """The program that the Space runs."""
    given = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) != field.default
    }
    given |= {"revision": model.revision}
    text = _render("app.py.jinja", mark=MARK, wheel=wheel, options=given)
    return text.encode()


def _readme(model: _Model, existing: str | None) -> str:
    """The Space's README with its metadata; what its owner wrote around ours stays."""
    name = model.id.rpartition("/")[2]
    body = _render(
        "README.md.jinja",
        name=name,
        model=model.id,
        base=model.base,
        revision=model.revision,
        url=HfApi().endpoint,
        notice=NOTICE,
        place=IN_SPACE,
        crisis={language: crisis_line(language) for language in LANGUAGES},
        terms=terms(model.license, model.base or ""),
        texts=sorted(model.texts),
        secret=model.secret,
    )
    theirs = {} if existing is None else front_matter.read(existing)
    ours = {key: v for key, v in _metadata(model).items() if key in FIXED or key not in theirs}
    return front_matter.merge(merge(existing, {"space": body}), ours)


def _metadata(model: _Model) -> dict[str, Any]:
    """How the Hub runs and lists the Space."""
    licence = {k: model.card[k] for k in LICENSE_KEYS if k in model.card}
    found: dict[str, Any] = {
        "title": model.id.rpartition("/")[2],
        "emoji": "💬",
        "colorFrom": "blue",
        "colorTo": "green",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "app_file": APP,
        "header": "mini",
        "short_description": "AI와 나누는 대화. 상담이 아닙니다 · an AI, no counsellor",
        "models": [name for name in (model.id, model.base) if name],
    }
    if datasets := model.card.get("datasets"):
        found["datasets"] = [datasets] if isinstance(datasets, str) else datasets
    return found | licence


def _render(template: str, **words: Any) -> str:
    environment = Environment(
        loader=PackageLoader("kosent_hub.chatting.space", "."),
        autoescape=False,  # Markdown and Python
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["python"] = repr
    return environment.get_template(template).render(**words)
