"""Text that leaves this machine: to which servers it may go, and which datasets are open.

AI Hub's terms forbid to show its text to third parties, and whoever runs a server is one. So a
dialogue goes only to this machine and its private network, unless the user names the server.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
from pathlib import Path
from typing import Any

from kosent_hub.models.data.chat_dataset import corpus
from model_card.publishing.errors import KoSentError, explain
from model_card.publishing.session import httpx
from model_card.records import BENCH, EvaluatedDataset

FLAG = "--i-may-send-this-text"
# This machine; private networks (RFC 1918, RFC 4193); link-local addresses (RFC 3927, RFC 4291).
OWN_NETWORKS: list[Any] = [
    *map(ipaddress.IPv4Network, ("127.0.0.0/8", "0.0.0.0/32")),
    *map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    ipaddress.IPv4Network("169.254.0.0/16"),
    *map(ipaddress.IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")),
]
# The corpus of this project, which is synthetic, and that of AI Hub.
SAMPLE, AIHUB = "kosent-sample", "aihub-86"
# Licences of the Hub that let anybody pass a dataset on.
OPEN_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "unlicense", "pddl", "odc-by", "odbl"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
    *("cc-by-sa-3.0", "cc-by-sa-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0"),
}


def assert_may_send(
    url: str, dataset: str, revision: str | None = None, allowed: str | None = None
) -> None:
    """Raise KoSentError if the dataset's text may not go to the server at `url`.

    It may go to this machine and its private network, to the server that `allowed` names (by the
    same scheme, host and port), and anywhere if the dataset is open (`is_open`).
    """
    if not _is_named(url, allowed) and not is_open(dataset, revision):
        raise _refusal(url, dataset)


def assert_may_send_evaluated(
    url: str, dataset: EvaluatedDataset, allowed: str | None = None
) -> None:
    """The same for the text of an evaluation that was made earlier.

    Of a local dataset the record has the name and the corpus: what lies at that name now may be
    another one.
    """
    if _is_named(url, allowed):
        return
    if not (dataset.source == SAMPLE if dataset.local else is_open(dataset.id, dataset.revision)):
        raise _refusal(url, dataset.id)


def _refusal(url: str, dataset: str) -> KoSentError:
    where = without_secrets(url)
    return KoSentError(
        where,
        f"not on this machine or a private network, so the text of {dataset} would go to a third "
        "party, which AI Hub's terms forbid",
        f"use a server of your own, or if you may send it there, add {FLAG} {where}",
    )


def assert_may_talk(url: str, allowed: str | None = None) -> None:
    """Raise KoSentError if what a person says may not go to the server at `url`.

    It may go to this machine and its private network, and to the server that `allowed` names.
    """
    if _is_named(url, allowed):
        return
    where = without_secrets(url)
    raise KoSentError(
        where,
        "not on this machine or a private network, so a third party would get all that is said",
        f"use a server of your own, or if you agree to that, add {FLAG} {where}",
    )


def _is_named(url: str, allowed: str | None) -> bool:
    """Whether the URL's server is of this machine or network, or the one that `allowed` names."""
    return is_own(url) or (allowed is not None and _server(allowed, FLAG) == _server(url))


def is_own(url: str) -> bool:
    """Whether all addresses of the URL's host are this machine's or of a private network."""
    _, host, port = _server(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_own_address(str(address[0])) for *_, address in found)


def is_open(dataset: str, revision: str | None = None) -> bool:
    """Whether anybody may have the dataset: KoSent-Bench, the sample corpus, or public on the Hub,
    not gated, under one of OPEN_LICENSES, and not made from AI Hub's corpus."""
    if dataset == BENCH:
        return True
    from huggingface_hub import HfApi

    try:
        source = corpus(dataset, revision)
        if source in (SAMPLE, AIHUB) or Path(dataset).is_dir():
            return source == SAMPLE
        found = HfApi().dataset_info(dataset, revision=revision)
    except Exception as error:
        if explain(error) is None:
            raise
        return False
    card: Any = found.card_data or {}
    stated = card.get("license")
    licenses = stated if isinstance(stated, list) and stated else [stated]
    is_public = not found.private and not found.gated
    return is_public and all(str(name) in OPEN_LICENSES for name in licenses)


def without_secrets(url: str) -> str:
    """The URL without user, password, query and fragment."""
    parts = _parsed(url)
    return str(parts.copy_with(username=None, password=None, query=None, fragment=None))


def _server(url: str, flag: str = "--endpoint") -> tuple[str, str, int]:
    """Scheme, host and port of a URL, as the client that sends to it reads them."""
    parts = _parsed(url, flag)
    return parts.scheme, parts.host, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _parsed(url: str, flag: str = "--endpoint") -> Any:
    try:
        parts = httpx.URL(url)
        urllib.parse.urlsplit(url)  # refuses brackets that httpx takes for a part of the name
    except (httpx.InvalidURL, ValueError) as error:
        raise KoSentError(url, str(error), f"check {flag}") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise KoSentError(url, "not an address like http://HOST:PORT/v1", f"check {flag}")
    return parts


def _is_own_address(address: str) -> bool:
    found: Any = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in OWN_NETWORKS)
