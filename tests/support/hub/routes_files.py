"""Downloads: small files from the Hub itself, large ones by redirection to storage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.hub import accounts
from tests.support.hub.messages import Request, Response, refusal
from tests.support.hub.store import HubError

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub


def resolve(
    hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str, path: str
) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_open(request.token, repo)
        commit = repo.commit_at(revision)
        blob = commit.tree.get(path)
    headers = {"X-Repo-Commit": commit.sha}
    if blob is None:
        error = HubError(404, "EntryNotFound", "Entry not found")
        return refusal(error, headers)
    headers |= {"ETag": f'"{blob.oid}"', "Accept-Ranges": "bytes"}
    if blob.sha256:
        location = f"{hub.storage}/cdn/{blob.sha256}?signature={hub.signature(blob.sha256)}"
        headers |= {
            "X-Linked-Size": str(blob.size),
            "X-Linked-ETag": f'"{blob.sha256}"',
            "Location": location,
        }
        if blob.xet:
            tokens = f"{hub.endpoint}/api/{repo_type}s/{repo_id}/xet-read-token/{commit.sha}"
            headers |= {"X-Xet-Hash": blob.xet, "Link": f'<{tokens}>; rel="xet-auth"'}
        return Response(302, f"Found. Redirecting to {location}".encode(), headers)
    name = path.rsplit("/", 1)[-1]
    if name.isascii():
        headers["Content-Disposition"] = f'inline; filename="{name}"'
    return ranged(request, blob.read(), headers)


def cdn(hub: Hub, request: Request, sha256: str) -> Response:
    """A large file. Whoever has the signed address may read it; no token is looked at."""
    if request.arg("signature") != hub.signature(sha256):
        raise HubError(403, None, "AccessDenied")
    with hub.store.lock:
        blob = hub.store.large_blob(sha256)
    return ranged(request, blob.read(), {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


def ranged(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    """The content, or the part of it that a `Range` header asks for."""
    headers = {"Content-Type": "application/octet-stream", **headers}
    asked = re.fullmatch(r"\s*bytes=(\d*)-(\d*)\s*", request.headers.get("range", ""))
    if asked is None or asked.groups() == ("", ""):
        return Response(200, content, headers)
    first, last = asked.groups()
    total = len(content)
    start = int(first) if first else max(total - int(last), 0)
    end = min(int(last), total - 1) if first and last else total - 1
    if start >= total or start > end:
        return Response(416, b"", {**headers, "Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return Response(206, content[start : end + 1], headers)


ROUTES = [
    ("GET", r"{prefix}{id}/(?:resolve|raw)/{rev}/(?P<path>.+)", resolve),
]
STORAGE_ROUTES = [
    ("GET", r"/cdn/(?P<sha256>[0-9a-f]{64})", cdn),
]
