"""Licences of well-known base models, and what some of them require of what is made from those.

Llama's, Gemma's, EXAONE's (LG's own copy) and HyperCLOVA X SEED's (another project's copy of the
file beside the 1.5B model) were read; their conditions are `Terms`.

A licence that is not in this table is read from the base model's own card, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# By the beginning of a Hub id, as their cards state it.
BASE_LICENSES = {
    "meta-llama/Llama-3.1-": "llama3.1",
    "meta-llama/Meta-Llama-3.1-": "llama3.1",
    "meta-llama/Llama-3.2-": "llama3.2",
    "meta-llama/Llama-3.3-": "llama3.3",
    "HuggingFaceTB/SmolLM2-": "apache-2.0",
    "HuggingFaceTB/SmolLM3-": "apache-2.0",
    "Qwen/Qwen3-": "apache-2.0",
    "kakaocorp/kanana-1.5-2.1b-": "apache-2.0",
    "kakaocorp/kanana-1.5-8b-": "apache-2.0",
    "LGAI-EXAONE/EXAONE-4.0-": "other",
    "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-": "other",
    "google/gemma-2-": "gemma",
    "google/gemma-3-": "gemma",
}
# Files with a licence's texts, and the one with its notice.
LICENSE_PATH, POLICY_PATH, NOTICE_PATH = "LICENSE", "USE_POLICY.md", "NOTICE"
TERMS_PATHS = (LICENSE_PATH, POLICY_PATH, NOTICE_PATH)
# Google's page of March 24, 2025 as text; repos of Gemma on the Hub have no copy.
_GEMMA_TERMS = Path(__file__).parent / "terms" / "gemma.txt"


@dataclass(frozen=True)
class Terms:
    """What the licence of a family of models requires of what is made from them, and its pages.

    `files` go along with the model, beside a file NOTICE in which `notice` stands, if there is one.
    The model's name must begin with `prefix`, with or without spaces and dashes, and `in_card` must
    stand in its card.
    """

    family: str
    license_url: str
    policy_url: str
    notice: str
    files: tuple[str, ...]
    in_card: str
    prefix: str = ""

    def allow_name(self, repo_id: str) -> bool:
        """Whether a repo may have this name."""
        return plain(repo_id.split("/")[-1]).startswith(plain(self.prefix))


def plain(name: str) -> str:
    """A name without spaces and dashes: a repo's cannot have the former."""
    return re.sub(r"[\s_-]", "", name)


@dataclass(frozen=True)
class OwnLicense:
    """A licence that the Hub has no id for: what the Hub calls it beside `license: other`, its
    title, its conditions in a line, and what it requires of what is made from the base."""

    name: str
    title: str
    conditions: str
    terms: Terms

    @property
    def url(self) -> str:
        """Where its text is."""
        return self.terms.license_url


_EXAONE = "https://huggingface.co/LGAI-EXAONE/EXAONE-4.0-1.2B/blob/main/LICENSE"
_SEED = (
    "https://huggingface.co/naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-1.5B/blob/main/LICENSE"
)
# By the beginning of a Hub id, as their cards state it.
OWN_LICENSES = {
    "LGAI-EXAONE/EXAONE-4.0-": OwnLicense(
        "exaone",
        "EXAONE AI Model License Agreement 1.2 - NC",
        "for research and education only, nothing commercial, and not to develop models that "
        "compete with LG's; a model made from it has a name that begins with EXAONE, and is passed "
        "on with a copy of the agreement",
        Terms("EXAONE", _EXAONE, _EXAONE, "", (LICENSE_PATH,), in_card="", prefix="EXAONE"),
    ),
    "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-": OwnLicense(
        "hyperclovax-seed",
        "HyperCLOVA X SEED Model License Agreement",
        "a model made from it is passed on with the agreement, a NOTICE and “Powered by HyperCLOVA "
        "X”, under a name that begins with HyperCLOVA X; whoever has more than 10 million users a "
        "month, or competes with NAVER, must ask NAVER first",
        Terms(
            "HyperCLOVA X",
            _SEED,
            _SEED,
            "HyperCLOVA X SEED Model is licensed under the HyperCLOVA X SEED Model License "
            "Agreement, Copyright © NAVER Corp. All Rights Reserved.",
            (LICENSE_PATH,),
            in_card="Powered by HyperCLOVA X",
            prefix="HyperCLOVA X",
        ),
    ),
}


def own_license(base_model: str) -> OwnLicense | None:
    """A well-known base model's licence if the Hub has no id for it."""
    return next((v for start, v in OWN_LICENSES.items() if base_model.startswith(start)), None)


def conditions_line(base_model: str) -> str | None:
    """What to say of a base whose licence has conditions of its own; None for any other."""
    found = own_license(base_model)
    if found is None:
        return None
    return (
        f"{base_model} is under the {found.title}: {found.conditions}; its text is at {found.url}"
    )


def known_license(base_model: str) -> str | None:
    """The Hub's id of a well-known base model's licence."""
    return next((v for start, v in BASE_LICENSES.items() if base_model.startswith(start)), None)


def terms(license_id: str | None, base_model: str = "") -> Terms | None:
    """What Gemma's terms, a Llama licence (3.1 and newer) or that of a base with a licence of its
    own (`license_id` is "other") require; None for any other licence."""
    if license_id == "other" and (own := own_license(base_model)):
        return own.terms
    if license_id == "gemma":
        policy = "ai.google.dev/gemma/prohibited_use_policy"
        return Terms(
            "Gemma",
            "https://ai.google.dev/gemma/terms",
            f"https://{policy}",
            "Gemma is provided under and subject to the Gemma Terms of Use found at "
            "ai.google.dev/gemma/terms",
            (LICENSE_PATH,),
            in_card=policy,
        )
    if license_id in ("llama3.1", "llama3.2", "llama3.3"):
        version = license_id.removeprefix("llama")
        pages = f"https://www.llama.com/llama{version.replace('.', '_')}"
        return Terms(
            "Llama",
            f"{pages}/license/",
            f"{pages}/use-policy/",
            f"Llama {version} is licensed under the Llama {version} Community License, "
            "Copyright © Meta Platforms, Inc. All Rights Reserved.",
            (LICENSE_PATH, POLICY_PATH),
            in_card="Built with Llama",
            prefix="Llama",
        )
    return None


def terms_files(
    license_id: str | None,
    change: str,
    read: Callable[[str], bytes | None] | None = None,
    base_model: str = "",
) -> dict[str, bytes]:
    """The files that a licence wants beside a model made from its base, by their paths.

    `change` says how the base was modified; `read` gives a file of the base's repo, None for one
    that it has not. Without `read`, what only the base's repo has is left out.
    """
    owed = terms(license_id, base_model)
    if license_id == "other":  # a copy goes along, whatever it asks for
        text = read(LICENSE_PATH) if read else None
        found = {} if text is None else {LICENSE_PATH: text}
        if owed is None or not owed.notice:
            return found
        notice = (
            f"{owed.notice}\n\n{change}\n\n"
            "The use of this model is subject to the restrictions in Section 2.3 of that agreement "
            "(LICENSE). Whoever passes the model on must pass them on too, with this notice and a "
            "copy of the agreement.\n"
        )
        return found | {NOTICE_PATH: notice.encode()}
    if owed is None:
        return {}
    if owed.family == "Gemma":
        notice = (
            f"{owed.notice}\n\n{change}\n\n"
            "The use of this model is subject to the restrictions in Section 3.2 of those terms, "
            f"among them the Prohibited Use Policy ({owed.policy_url}). Whoever passes the model "
            "on must pass them on too, with this notice and a copy of the terms (LICENSE).\n"
        )
        return {LICENSE_PATH: _GEMMA_TERMS.read_bytes(), NOTICE_PATH: notice.encode()}
    texts = {path: read(path) for path in owed.files} if read else {}
    found = {path: data for path, data in texts.items() if data is not None}
    return found | {NOTICE_PATH: f"{owed.notice}\n".encode()}


def trained_from(base_model: str) -> str:
    """What was changed in a base model by training, for its notice."""
    return (
        f"This model was made from {base_model} by further training with KoSent Hub. Its files are "
        "modified or new; none is the original."
    )


LICENSE_NAMES = {
    "apache-2.0": ("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT License", "https://opensource.org/license/mit"),
    "gemma": ("Gemma Terms of Use", "https://ai.google.dev/gemma/terms"),
    **{
        f"llama{version}": (
            f"Llama {version} Community License",
            f"https://www.llama.com/llama{version.replace('.', '_')}/license/",
        )
        for version in ("3.1", "3.2", "3.3")
    },
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Every licence id that the Hub's metadata takes.
LICENSE_IDS = _words(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0
    cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
    eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
    intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
    openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
    grok2-community gemma unknown other
    """
)

# Nothing that is made from a model under these may be passed on.
NO_DERIVATIVES = _words("cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0")
# A model under these is for research, and a page for everybody is not.
RESEARCH_ONLY = _words("apple-amlr fair-noncommercial-research-license h-research intel-research")


def space_refused(
    license_id: str | None, *, public: bool, base_model: str = ""
) -> tuple[str, str] | None:
    """Why a Space may not show what is made from a model under this licence, and what to do then.

    None if nothing here is against it. A `public` Space also needs a licence that is known.
    """
    if license_id in NO_DERIVATIVES:
        return (
            f"its licence {license_id} forbids to pass on what is made from it",
            "talk to the model on your own machine: leave --space out",
        )
    if public and license_id in RESEARCH_ONLY:
        return (
            f"its licence {license_id} is for research, and a public Space is for everybody",
            "leave --public out",
        )
    if public and license_id in (None, "other", "unknown"):
        own = own_license(base_model) if license_id == "other" else None
        return (
            f"its licence has conditions: {own.conditions}"
            if own
            else "its licence is not known here, so neither is whether everybody may talk to it",
            "leave --public out; read the licence, and open the Space on its settings page if it "
            "lets you",
        )
    return None
