"""Licences of well-known base models, and what Llama's requires of a model made from it.

A licence that is not in this table is read from the base model's own card, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

# By the beginning of a Hub id, as their cards state it.
BASE_LICENSES = {
    "meta-llama/Llama-3.1-": "llama3.1",
    "meta-llama/Meta-Llama-3.1-": "llama3.1",
    "meta-llama/Llama-3.2-": "llama3.2",
    "meta-llama/Llama-3.3-": "llama3.3",
    "HuggingFaceTB/SmolLM2-": "apache-2.0",
    "HuggingFaceTB/SmolLM3-": "apache-2.0",
    "Qwen/Qwen3-": "apache-2.0",
    "google/gemma-2-": "gemma",
    "google/gemma-3-": "gemma",
}
# Files of a Llama base that travel with what is made from it.
LLAMA_FILES = ("LICENSE", "USE_POLICY.md")
NOTICE_PATH = "NOTICE"


@dataclass(frozen=True)
class Llama:
    """What the Llama community licence of one version requires, and its pages."""

    version: str

    @property
    def license_url(self) -> str:
        """The page of the licence agreement."""
        return f"https://www.llama.com/llama{self.version.replace('.', '_')}/license/"

    @property
    def policy_url(self) -> str:
        """The page of the acceptable use policy."""
        return f"https://www.llama.com/llama{self.version.replace('.', '_')}/use-policy/"

    @property
    def notice(self) -> str:
        """The sentence that the licence requires in a text file named Notice."""
        return (
            f"Llama {self.version} is licensed under the Llama {self.version} Community License, "
            "Copyright © Meta Platforms, Inc. All Rights Reserved."
        )


def known_license(base_model: str) -> str | None:
    """The Hub's id of a well-known base model's licence."""
    return next((v for start, v in BASE_LICENSES.items() if base_model.startswith(start)), None)


def llama(license_id: str | None) -> Llama | None:
    """What a Llama licence (3.1 and newer) requires; None for any other licence."""
    if license_id in ("llama3.1", "llama3.2", "llama3.3"):
        return Llama(license_id.removeprefix("llama"))
    return None


LICENSE_NAMES = {
    "apache-2.0": ("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT License", "https://opensource.org/license/mit"),
    "gemma": ("Gemma Terms of Use", "https://ai.google.dev/gemma/terms"),
    **{
        f"llama{version}": (f"Llama {version} Community License", Llama(version).license_url)
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
