"""Discussions and pull requests, as far as a library needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.hub import accounts
from tests.support.hub.messages import Request, Response, answer
from tests.support.hub.store import MAIN, Blob, Discussion, HubError, NothingChanged, Repo, now

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub


def list_all(hub: Hub, request: Request, repo_type: str, repo_id: str) -> Response:
    kinds = {"all": (True, False), "pull_request": (True,), "discussion": (False,)}
    wanted = kinds[request.arg("type") or "all"]
    author = request.arg("author")
    open_ones = {"open": ("open", "draft"), "closed": ("closed", "merged")}
    states = open_ones.get(request.arg("status") or "", ("open", "draft", "closed", "merged"))
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        shown = [
            _brief(repo, discussion)
            for discussion in reversed(repo.discussions)
            if discussion.is_pull_request in wanted
            and discussion.status in states
            and author in (None, discussion.author)
        ]
    return answer({"discussions": shown, "count": len(shown), "start": 0})


def show(hub: Hub, request: Request, repo_type: str, repo_id: str, num: str) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        return answer(_full(repo, _find(repo, num)))


def create(hub: Hub, request: Request, repo_type: str, repo_id: str) -> Response:
    asked = request.json()
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        token = accounts.require_write(request.token, repo, pull_request=True)
        pull = bool(asked.get("pullRequest"))
        base = repo.refs[MAIN] if pull else None
        discussion = Discussion(
            len(repo.discussions) + 1, asked["title"], token.user, pull, now(), base=base
        )
        discussion.status = "draft" if pull else "open"
        if base:
            repo.refs[f"refs/pr/{discussion.num}"] = base
        _comment(discussion, token.user, asked.get("description", ""))
        repo.discussions.append(discussion)
    return answer({"num": discussion.num, "pullRequest": pull})


def comment(hub: Hub, request: Request, repo_type: str, repo_id: str, num: str) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        token = accounts.require_write(request.token, repo, pull_request=True)
        said = _comment(_find(repo, num), token.user, request.json()["comment"])
    return answer({"newMessage": said})


def status(hub: Hub, request: Request, repo_type: str, repo_id: str, num: str) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        discussion = _find(repo, num)
        token = accounts.require_write(
            request.token, repo, ref=f"refs/pr/{num}" if discussion.is_pull_request else None
        )
        discussion.status = request.json()["status"]
        event = _event(discussion, "status-change", token.user, {"status": discussion.status})
    return answer({"newStatus": event})


def merge(hub: Hub, request: Request, repo_type: str, repo_id: str, num: str) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        token = accounts.require_write(request.token, repo)
        discussion = _find(repo, num)
        if not discussion.is_pull_request or discussion.status not in ("open", "draft"):
            raise HubError(400, None, "Not an open pull request")
        if _conflicts(repo, discussion):
            raise HubError(409, None, "The pull request has conflicts")
        title = f"{discussion.title} (#{num})"
        try:
            merged = hub.store.commit(repo, MAIN, _changes(repo, discussion), title, token.user)
            discussion.merged = merged.sha
        except NothingChanged:
            discussion.merged = repo.refs[MAIN]
        discussion.status = "merged"
        _event(discussion, "status-change", token.user, {"status": "merged"})
    return answer({})


def _changes(repo: Repo, discussion: Discussion) -> dict[str, Blob | None]:
    """What the pull request's head has that its base has not."""
    assert discussion.base is not None
    base = repo.commits[discussion.base].tree
    head = repo.commits[repo.refs[f"refs/pr/{discussion.num}"]].tree
    changes: dict[str, Blob | None] = {p: b for p, b in head.items() if base.get(p) != b}
    return changes | dict.fromkeys(path for path in base if path not in head)


def _conflicts(repo: Repo, discussion: Discussion) -> list[str]:
    """Files that the pull request and main changed differently since they parted."""
    assert discussion.base is not None
    base, main = repo.commits[discussion.base].tree, repo.commits[repo.refs[MAIN]].tree
    return [
        path
        for path, blob in _changes(repo, discussion).items()
        if main.get(path) != base.get(path) and main.get(path) != blob
    ]


def _find(repo: Repo, num: str) -> Discussion:
    if not 1 <= int(num) <= len(repo.discussions):
        raise HubError(404, None, "Discussion not found")
    return repo.discussions[int(num) - 1]


def _event(discussion: Discussion, kind: str, author: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {
        "id": f"{discussion.num:012x}{len(discussion.events):012x}",
        "type": kind,
        "createdAt": now(),
        "author": {"name": author},
        "data": data,
    }
    discussion.events.append(event)
    return event


def _comment(discussion: Discussion, author: str, text: str) -> dict[str, Any]:
    latest = {"raw": text, "html": "", "updatedAt": now(), "author": {"name": author}}
    data = {"edited": False, "hidden": False, "latest": latest, "history": []}
    return _event(discussion, "comment", author, data)


def _brief(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": {"name": discussion.author},
        "createdAt": discussion.date,
        "status": discussion.status,
        "repo": {"name": repo.id, "type": repo.type},
        "isPullRequest": discussion.is_pull_request,
    }


def _full(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    shown = {**_brief(repo, discussion), "events": discussion.events}
    if discussion.is_pull_request:
        shown["changes"] = {"base": MAIN, "mergeCommitId": discussion.merged}
        shown["filesWithConflicts"] = _conflicts(repo, discussion)
        # A real diff nobody here reads; the changed paths are what a test asks about.
        shown["diff"] = "\n".join(f"diff --git a/{p} b/{p}" for p in _changes(repo, discussion))
    return shown


ROUTES = [
    ("GET", r"/api/{types}/{id}/discussions", list_all),
    ("POST", r"/api/{types}/{id}/discussions", create),
    ("GET", r"/api/{types}/{id}/discussions/(?P<num>\d+)", show),
    ("POST", r"/api/{types}/{id}/discussions/(?P<num>\d+)/comment", comment),
    ("POST", r"/api/{types}/{id}/discussions/(?P<num>\d+)/status", status),
    ("POST", r"/api/{types}/{id}/discussions/(?P<num>\d+)/merge", merge),
]
