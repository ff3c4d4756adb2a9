"""What changes a repository: creating it, its settings, its branches and tags, commits."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.support.hub import accounts
from tests.support.hub.messages import Request, Response, answer
from tests.support.hub.store import (
    MAIN,
    Blob,
    Discussion,
    HubError,
    NothingChanged,
    Repo,
    is_large,
    now,
    regular,
)
from tests.support.hub.validate import check_card

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub


SDKS = ("gradio", "docker", "static")
# What the Hub puts into a new Space.
SPACE_README = """---
title: {title}
emoji: 🐠
colorFrom: pink
colorTo: indigo
sdk: {sdk}
app_file: app.py
pinned: false
---

Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference
"""


def create_repo(hub: Hub, request: Request) -> Response:
    asked = request.json()
    repo_type, repo_id = asked.get("type") or "model", _asked_id(request, asked)
    namespace = repo_id.split("/")[0]
    private = asked.get("private") or asked.get("visibility") == "private"
    url = hub.page_url(repo_type, repo_id)
    with hub.store.lock:
        if not accounts.may_write_namespace(request.token, namespace):
            raise HubError(
                403,
                None,
                f"You don't have the rights to create a {repo_type} under the namespace "
                f'"{namespace}"',
            )
        if (repo_type, repo_id) in hub.store.repos:
            said = f"You already created this {repo_type} repo: {repo_id}"
            return answer({"error": said, "url": url}, 409, {"X-Error-Message": said})
        author = accounts.require_token(request.token).user
        if repo_type == "space" and asked.get("sdk") not in SDKS:
            raise HubError(400, None, "✖ Invalid option: expected one of gradio, docker, static")
        repo = hub.store.create(repo_type, repo_id, private=bool(private), author=author)
        if repo_type == "space":
            title = repo_id.split("/")[1].replace("-", " ").title()
            readme = SPACE_README.format(title=title, sdk=asked["sdk"]).encode()
            hub.store.commit(repo, MAIN, {"README.md": regular(readme)}, "initial commit", author)
    return answer({"url": url, "name": repo_id, "id": repo_id})


def delete_repo(hub: Hub, request: Request) -> Response:
    asked = request.json()
    repo_type, repo_id = asked.get("type") or "model", _asked_id(request, asked)
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_write(request.token, repo)
        del hub.store.repos[repo_type, repo_id]
    return answer({})


def settings(hub: Hub, request: Request, repo_type: str, repo_id: str) -> Response:
    asked = request.json()
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_write(request.token, repo)
        if "private" in asked:
            repo.private = bool(asked["private"])
        if "visibility" in asked:
            repo.private = asked["visibility"] == "private"
        if "gated" in asked:
            repo.gated = asked["gated"]
    return answer({"private": repo.private, "gated": repo.gated})


def create_branch(
    hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str
) -> Response:
    start = request.json().get("startingPoint") or "main"
    return _new_ref(hub, request, repo_type, repo_id, f"refs/heads/{revision}", start)


def create_tag(hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str) -> Response:
    tag = request.json()["tag"]
    return _new_ref(hub, request, repo_type, repo_id, f"refs/tags/{tag}", revision)


def delete_ref(
    hub: Hub, request: Request, repo_type: str, repo_id: str, kind: str, revision: str
) -> Response:
    ref = f"refs/{'heads' if kind == 'branch' else 'tags'}/{revision}"
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_write(request.token, repo)
        if ref == "refs/heads/main":
            raise HubError(403, None, "Cannot delete main branch")
        if repo.refs.pop(ref, None) is None:
            raise HubError(404, "RevisionNotFound", f"Reference does not exist: {ref}")
    return answer({})


def preupload(hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str) -> Response:
    """For each file whether it goes into the commit or to storage first."""
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        ref = repo.ref_of(revision)
        accounts.require_write(request.token, repo, pull_request=request.flag("create_pr"), ref=ref)
        tree = repo.commit_at(revision).tree
    attributes = tree[".gitattributes"].read() if ".gitattributes" in tree else b""
    files = []
    for file in request.json()["files"]:
        path, there = file["path"], tree.get(file["path"])
        large = is_large(path, file["size"], base64.b64decode(file.get("sample", "")), attributes)
        shown = {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": False,
            "oid": None,
        }
        if there is not None:
            shown["oid"] = there.sha256 if large else there.oid
        files.append(shown)
    return answer({"files": files, "commitOid": repo.commit_at(revision).sha})


def commit(hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str) -> Response:
    """One commit, or one pull request with it; all of it or nothing."""
    lines = [json.loads(line) for line in request.body.decode().splitlines() if line.strip()]
    header: dict[str, Any] = next((x["value"] for x in lines if x["key"] == "header"), {})
    title = header.get("summary")
    if not title:
        raise HubError(400, None, "A commit needs a summary")
    pull_request = request.flag("create_pr")
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        ref = repo.ref_of(revision)
        token = accounts.require_write(request.token, repo, pull_request=pull_request, ref=ref)
        head = repo.commit_at(revision)
        if not pull_request and (ref is None or ref.startswith("refs/tags/")):
            raise HubError(400, None, f"{revision} is not a branch")
        base = header.get("parentCommit")
        if base and pull_request:
            head = repo.commit_at(base)
        elif base and not head.sha.startswith(base):
            raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
        changes = _changes(hub, repo, head.tree, lines)
        discussion = None
        if pull_request:
            discussion = _open(repo, title, token.user, head.sha)
            ref = f"refs/pr/{discussion.num}"
        assert ref is not None
        try:
            made = hub.store.commit(
                repo,
                ref,
                changes,
                title,
                token.user,
                message=header.get("description", ""),
                parent=head.sha,
            )
        except NothingChanged:
            made = head
    url = hub.page_url(repo_type, repo_id)
    said: dict[str, Any] = {
        "success": True,
        "commitOid": made.sha,
        "commitUrl": f"{url}/commit/{made.sha}",
        "hookOutput": "",
    }
    if discussion is not None:
        said["pullRequestUrl"] = f"{url}/discussions/{discussion.num}"
    return answer(said)


def validate_yaml(hub: Hub, request: Request) -> Response:
    asked = request.json()
    errors, warnings = check_card(asked.get("content", ""), asked.get("repoType") or "model")
    status = 400 if errors else 200
    if "text/plain" in request.headers.get("accept", ""):
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        return Response(status, "\n".join(errors).encode(), plain)
    return answer(
        {
            "errors": [{"message": message} for message in errors],
            "warnings": [{"message": message} for message in warnings],
        },
        status,
    )


def _asked_id(request: Request, asked: Mapping[str, Any]) -> str:
    """`namespace/name` of a creation; without an organisation the caller's own namespace."""
    token = accounts.require_token(request.token)
    name = asked.get("name") or ""
    return name if "/" in name else f"{asked.get('organization') or token.user}/{name}"


def _new_ref(
    hub: Hub, request: Request, repo_type: str, repo_id: str, ref: str, start: str
) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_write(request.token, repo)
        if ref in repo.refs:
            raise HubError(409, None, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.commit_at(start).sha
    return answer({})


def _open(repo: Repo, title: str, author: str, base: str) -> Discussion:
    discussion = Discussion(len(repo.discussions) + 1, title, author, True, now(), base=base)
    repo.discussions.append(discussion)
    repo.refs[f"refs/pr/{discussion.num}"] = base
    return discussion


def _changes(
    hub: Hub, repo: Repo, tree: Mapping[str, Blob], lines: list[dict[str, Any]]
) -> dict[str, Blob | None]:
    """Operations of a commit as new blobs by path; None deletes."""
    changes: dict[str, Blob | None] = {}
    for line in lines:
        value = line["value"]
        path = value.get("path", "")
        if line["key"] == "file":
            changes[path] = regular(base64.b64decode(value["content"]))
        elif line["key"] == "lfsFile":
            changes[path] = hub.store.large_blob(value["oid"])
        elif line["key"] == "copyFile":
            source = repo.commit_at(value["srcRevision"]).tree if "srcRevision" in value else tree
            changes[path] = source[value["srcPath"]]
        elif line["key"] == "deletedFile":
            if path not in tree:
                raise HubError(404, "EntryNotFound", "A file with this name doesn't exist")
            changes[path] = None
        elif line["key"] == "deletedFolder":
            inside = [name for name in tree if name.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise HubError(404, "EntryNotFound", "A folder with this name doesn't exist")
            changes |= dict.fromkeys(inside)
        elif line["key"] != "header":
            raise HubError(400, None, f"Unknown operation {line['key']}")
    card = changes.get("README.md")
    if card is not None:
        errors, _ = check_card(card.read().decode("utf-8", "replace"), repo.type)
        if errors:
            raise HubError(400, None, "Invalid metadata in README.md: " + "; ".join(errors))
    return changes


ROUTES = [
    ("POST", r"/api/repos/create", create_repo),
    ("DELETE", r"/api/repos/delete", delete_repo),
    ("PUT", r"/api/{types}/{id}/settings", settings),
    ("POST", r"/api/{types}/{id}/branch/{rev}", create_branch),
    ("POST", r"/api/{types}/{id}/tag/{rev}", create_tag),
    ("DELETE", r"/api/{types}/{id}/(?P<kind>branch|tag)/{rev}", delete_ref),
    ("POST", r"/api/{types}/{id}/preupload/{rev}", preupload),
    ("POST", r"/api/{types}/{id}/commit/{rev}", commit),
    ("POST", r"/api/validate-yaml", validate_yaml),
]
