"""Xet: tokens from the Hub, and the storage that takes and gives chunks (`xet.py`).

Not here, and 404 as the protocol allows: chunks that other repositories have (global
deduplication) and grants to upload a xorb elsewhere. So hf-xet knows again only what it sent.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from tests.support.hub import accounts
from tests.support.hub.messages import Request, Response, answer
from tests.support.hub.routes_files import ranged
from tests.support.hub.store import HubError
from tests.support.hub.xet import Term, Xorb, xorb

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub

SECONDS = 3600


def token(
    hub: Hub, request: Request, repo_type: str, repo_id: str, scope: str, revision: str = "main"
) -> Response:
    """Where storage is, and what to show there instead of the Hub's token."""
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_open(request.token, repo)
        if scope == "write":
            accounts.require_write(
                request.token,
                repo,
                pull_request=request.flag("create_pr"),
                ref=repo.ref_of(revision),
            )
    secret, expires = hub.signature(f"xet {scope}"), int(time.time()) + SECONDS
    headers = {
        "X-Xet-Cas-Url": hub.storage,
        "X-Xet-Access-Token": secret,
        "X-Xet-Token-Expiration": str(expires),
    }
    return answer({"casUrl": hub.storage, "accessToken": secret, "exp": expires}, headers=headers)


def put_xorb(hub: Hub, request: Request, xorb_hash: str) -> Response:
    _allowed(hub, request, "write")
    with hub.store.lock:
        new = xorb_hash not in hub.xet.xorbs
        hub.xet.xorbs[xorb_hash] = xorb(request.body)
    return answer({"was_inserted": new})


def put_shard(hub: Hub, request: Request) -> Response:
    """Files of the xorbs that came before, each registered under its SHA-256 too."""
    _allowed(hub, request, "write")
    with hub.store.lock:
        for file_hash, sha256, content in hub.xet.register(request.body):
            hub.store.large[sha256], hub.store.xet_hashes[sha256] = content, file_hash
    lines = json.dumps({"type": "result"}) + "\n"
    return Response(200, lines.encode(), {"Content-Type": "application/x-ndjson"})


def reconstruction(hub: Hub, request: Request, file_hash: str) -> Response:
    """Which chunks a file, or a range of it, is made of, and where they are."""
    _allowed(hub, request, "read", "write")
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, None)
    with hub.store.lock:
        offset, terms = hub.xet.reconstruction(file_hash, start, end)
        xorbs = {term.xorb: hub.xet.xorbs[term.xorb] for term in terms}
    return answer(
        {
            "offset_into_first_range": offset,
            "terms": [
                {
                    "hash": term.xorb,
                    "unpacked_length": term.size,
                    "range": {"start": term.start, "end": term.end},
                }
                for term in terms
            ],
            "xorbs": {
                name: [
                    {
                        "url": f"{hub.storage}/xorb/{name}?signature={hub.signature(name)}",
                        "ranges": [_range(found, start, end)],
                    }
                    for start, end in _merged([term for term in terms if term.xorb == name])
                ]
                for name, found in xorbs.items()
            },
        }
    )


def get_xorb(hub: Hub, request: Request, xorb_hash: str) -> Response:
    """A range of a xorb's bytes. Whoever has the signed address may read it."""
    if request.arg("signature") != hub.signature(xorb_hash):
        raise HubError(403, None, "AccessDenied")
    with hub.store.lock:
        data = hub.xet.xorbs[xorb_hash].data
    return ranged(request, data, {})


def _allowed(hub: Hub, request: Request, *scopes: str) -> None:
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    if shown not in [hub.signature(f"xet {scope}") for scope in scopes]:
        raise HubError(401, None, "Unauthorized")


def _merged(terms: list[Term]) -> list[tuple[int, int]]:
    """Ranges of chunks that cover the terms of one xorb, apart from each other."""
    ranges: list[tuple[int, int]] = []
    for start, end in sorted((term.start, term.end) for term in terms):
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
        else:
            ranges.append((start, end))
    return ranges


def _range(found: Xorb, start: int, end: int) -> dict[str, dict[str, int]]:
    return {
        "chunks": {"start": start, "end": end},
        "bytes": {"start": found.starts[start], "end": found.starts[end] - 1},
    }


HASH = r"[0-9a-f]{64}"
ROUTES = [
    ("GET", r"/api/{types}/{id}/xet-(?P<scope>read|write)-token(?:/{rev})?", token),
]
STORAGE_ROUTES = [
    ("POST", rf"/v1/xorbs/default/(?P<xorb_hash>{HASH})", put_xorb),
    ("POST", r"/v2/shards", put_shard),
    ("GET", rf"/v2/reconstructions/(?P<file_hash>{HASH})", reconstruction),
    ("GET", rf"/xorb/(?P<xorb_hash>{HASH})", get_xorb),
]
