"""Large files: where to send them (LFS batch), storage that takes them, and a check after."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from tests.support.hub import accounts
from tests.support.hub.messages import Request, Response, answer
from tests.support.hub.store import HubError

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub

LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}


def batch(hub: Hub, request: Request, repo_type: str, repo_id: str) -> Response:
    """For each object its upload address, or nothing where storage has it already."""
    asked = request.json()
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        ref = asked.get("ref", {}).get("name")
        # Without a ref the upload is for a pull request, which every reader may open.
        accounts.require_write(
            request.token, repo, pull_request=ref is None, ref=repo.ref_of(ref) if ref else None
        )
    multipart = "multipart" in asked.get("transfers", [])
    objects: list[dict[str, Any]] = []
    for item in asked["objects"]:
        oid, size = item["oid"], item["size"]
        shown: dict[str, Any] = {"oid": oid, "size": size}
        if oid not in hub.store.large:
            in_parts = multipart and size > hub.part_size
            verify = f"{hub.page_url(repo_type, repo_id)}.git/info/lfs/objects/verify"
            shown["actions"] = {
                "upload": _in_parts(hub, oid, size) if in_parts else _whole(hub, oid),
                "verify": {"href": verify, "header": {}},
            }
        objects.append(shown)
    chosen = "multipart" if multipart else "basic"
    return answer({"transfer": chosen, "objects": objects}, headers=LFS_JSON)


def verify(hub: Hub, request: Request, repo_type: str, repo_id: str) -> Response:
    asked = request.json()
    with hub.store.lock:
        hub.visible(request, repo_type, repo_id)
        if hub.store.large_blob(asked["oid"]).size != asked["size"]:
            raise HubError(422, None, "Size mismatch")
    return answer({}, headers=LFS_JSON)


def complete(hub: Hub, request: Request, sha256: str) -> Response:
    """Join the parts of an upload, each named by number and by the hash storage gave it."""
    _signed(hub, request, sha256)
    listed = sorted(request.json()["parts"], key=lambda part: part["partNumber"])
    with hub.store.lock:
        parts = [hub.parts.get((sha256, part["partNumber"])) for part in listed]
        if any(
            content is None or part["etag"].strip('"') != hashlib.md5(content).hexdigest()
            for part, content in zip(listed, parts, strict=True)
        ):
            raise HubError(400, None, "InvalidPart")
        _keep(hub, sha256, b"".join(part for part in parts if part is not None))
        for key in [key for key in hub.parts if key[0] == sha256]:
            del hub.parts[key]
    return answer({"success": True}, headers=LFS_JSON)


def put(hub: Hub, request: Request, sha256: str) -> Response:
    """One whole object into storage."""
    _signed(hub, request, sha256)
    with hub.store.lock:
        _keep(hub, sha256, request.body)
    return Response(200, headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


def put_part(hub: Hub, request: Request, sha256: str, number: str) -> Response:
    _signed(hub, request, sha256)
    with hub.store.lock:
        hub.parts[sha256, int(number)] = request.body
    return Response(200, headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


def _whole(hub: Hub, oid: str) -> dict[str, Any]:
    return {"href": f"{hub.storage}/upload/{oid}?signature={hub.signature(oid)}", "header": {}}


def _in_parts(hub: Hub, oid: str, size: int) -> dict[str, Any]:
    signature = hub.signature(oid)
    header = {"chunk_size": str(hub.part_size)}
    for number in range(1, math.ceil(size / hub.part_size) + 1):
        header[str(number)] = f"{hub.storage}/upload/{oid}/{number}?signature={signature}"
    href = f"{hub.endpoint}/api/complete_multipart/{oid}?signature={signature}"
    return {"href": href, "header": header}


def _signed(hub: Hub, request: Request, sha256: str) -> None:
    if request.arg("signature") != hub.signature(sha256):
        raise HubError(403, None, "AccessDenied")


def _keep(hub: Hub, sha256: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise HubError(400, None, "BadDigest: the content does not have the promised SHA-256")
    hub.store.large[sha256] = content


ROUTES = [
    ("POST", r"{prefix}{id}\.git/info/lfs/objects/batch", batch),
    ("POST", r"{prefix}{id}\.git/info/lfs/objects/verify", verify),
    ("POST", r"/api/complete_multipart/(?P<sha256>[0-9a-f]{64})", complete),
]
STORAGE_ROUTES = [
    ("PUT", r"/upload/(?P<sha256>[0-9a-f]{64})", put),
    ("PUT", r"/upload/(?P<sha256>[0-9a-f]{64})/(?P<number>\d+)", put_part),
]
