"""What can be asked about a repository: who, what, which files, which commits."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from tests.support.hub import accounts, cards
from tests.support.hub.messages import Request, Response, answer
from tests.support.hub.store import Blob, Commit, HubError, Repo, git_oid

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub


def whoami(hub: Hub, request: Request) -> Response:
    token = accounts.require_token(request.token)
    organisations = [
        {"type": "org", "name": name, "fullname": name, "roleInOrg": roles[token.user]}
        for name, roles in accounts.ORGANISATIONS.items()
        if token.user in roles
    ]
    role = "read" if token.read_only else "write"
    created = "2026-01-01T00:00:00.000Z"
    return answer(
        {
            "type": "user",
            "id": token.user,
            "name": token.user,
            "fullname": token.user.title(),
            "email": f"{token.user}@example.com",
            "emailVerified": True,
            "isPro": False,
            "canPay": False,
            "orgs": organisations,
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "tests", "role": role, "createdAt": created},
            },
        }
    )


def repo_info(
    hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str = "main"
) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        commit = repo.commit_at(revision)
        info = cards.describe(repo, commit, blobs=request.flag("blobs"))
        expand = request.query.get("expand", []) + request.query.get("expand[]", [])
        if expand:
            extra = cards.describe_more(repo, commit)
            unknown = [name for name in expand if name not in info and name not in extra]
            if unknown:
                raise HubError(400, None, f'"expand" must be one of {sorted({**info, **extra})}')
            info = {name: {**info, **extra}[name] for name in ("_id", "id", *expand)}
        return answer(info, headers={"X-Repo-Commit": commit.sha})


def list_repos(hub: Hub, request: Request, repo_type: str) -> Response:
    author, search = request.arg("author"), (request.arg("search") or "").lower()
    with hub.store.lock:
        found = [
            cards.describe(repo, repo.commit_at("main"))
            for repo in hub.store.repos.values()
            if repo.type == repo_type
            and accounts.may_read(request.token, repo)
            and (author is None or repo.owner == author)
            and search in repo.id.lower()
        ]
    return _page(hub, request, found, hub.page_size)


def auth_check(
    hub: Hub, request: Request, repo_type: str, repo_id: str, write: str = ""
) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        accounts.require_open(request.token, repo)
        if write:
            accounts.require_write(request.token, repo)
    return answer({})


def tree(
    hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str, folder: str = ""
) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        commit = repo.commit_at(revision)
        folder = folder.strip("/")
        inside = f"{folder}/" if folder else ""
        if inside and not any(path.startswith(inside) for path in commit.tree):
            raise HubError(404, "EntryNotFound", f"{folder} does not exist on {revision!r}")
        entries = [
            entry
            for entry in _entries(repo, commit, expand=request.flag("expand"))
            if entry["path"].startswith(inside)
            and (request.flag("recursive") or "/" not in entry["path"][len(inside) :])
        ]
    size = min(hub.page_size, 50) if request.flag("expand") else hub.page_size
    return _page(hub, request, entries, size)


def paths_info(hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str) -> Response:
    if "json" in request.headers.get("content-type", ""):
        asked: dict[str, Any] = request.json()
        wanted, expand = set(asked.get("paths", [])), bool(asked.get("expand"))
    else:
        form = parse_qs(request.body.decode())
        wanted = set(form.get("paths", []))
        expand = form.get("expand", [""])[0].lower() in ("1", "true")
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        commit = repo.commit_at(revision)
        entries = _entries(repo, commit, expand=expand)
        return answer([entry for entry in entries if entry["path"] in wanted])


def refs(hub: Hub, request: Request, repo_type: str, repo_id: str) -> Response:
    groups: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "pullRequests": []}
    prefixes = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        for ref, sha in sorted(repo.refs.items()):
            prefix = next(p for p in prefixes if ref.startswith(p))
            name = ref.removeprefix(prefix)
            groups[prefixes[prefix]].append({"name": name, "ref": ref, "targetCommit": sha})
    if not request.flag("include_prs"):
        del groups["pullRequests"]
    return answer({**groups, "converts": []})


def commits(hub: Hub, request: Request, repo_type: str, repo_id: str, revision: str) -> Response:
    with hub.store.lock:
        repo = hub.visible(request, repo_type, repo_id)
        listed = [
            {
                "id": commit.sha,
                "title": commit.title,
                "message": commit.message,
                "authors": [{"user": commit.author}],
                "date": commit.date,
            }
            for commit in repo.history(revision)
        ]
    return _page(hub, request, listed, min(hub.page_size, 50))


def entry_of(path: str, blob: Blob) -> dict[str, Any]:
    """One file as tree listings show it."""
    entry = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
    if blob.sha256:
        entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}
    if blob.xet:
        entry["xetHash"] = blob.xet
    return entry


def _entries(repo: Repo, commit: Commit, *, expand: bool) -> list[dict[str, Any]]:
    """Files and folders, a folder before what it holds; `expand` adds last commits."""
    entries: dict[str, dict[str, Any]] = {}
    for path, blob in commit.tree.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            oid = git_oid(f"{folder} {commit.sha}".encode())
            entries.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
        entries[path] = entry_of(path, blob)
    if expand:
        history = repo.history(commit.sha)
        safe = {"status": "safe", "avScan": None, "pickleImportScan": None}
        for path, entry in entries.items():
            last = _last_change(history, path)
            entry["lastCommit"] = {"id": last.sha, "title": last.title, "date": last.date}
            if entry["type"] == "file":
                entry["securityFileStatus"] = safe
    return list(entries.values())


def _last_change(history: list[Commit], path: str) -> Commit:
    """The newest commit that touched a file or something in a folder."""

    def state(commit: Commit) -> list[tuple[str, str]]:
        return [
            (name, blob.oid)
            for name, blob in commit.tree.items()
            if name == path or name.startswith(f"{path}/")
        ]

    for commit, parent in pairwise(history):
        if state(commit) != state(parent):
            return commit
    return history[-1]


def _page(hub: Hub, request: Request, items: list[Any], size: int) -> Response:
    """The page a cursor names, with a `Link` header to the next one unless it is the last."""
    start = int(request.arg("cursor") or 0)
    headers = {}
    if start + size < len(items):
        query = {**request.query, "cursor": [str(start + size)]}
        url = f"{hub.endpoint}{request.path}?{urlencode(query, doseq=True)}"
        headers["Link"] = f'<{url}>; rel="next"'
    return answer(items[start : start + size], headers=headers)


ROUTES = [
    ("GET", r"/api/whoami-v2", whoami),
    ("GET", r"/api/{types}", list_repos),
    ("GET", r"/api/{types}/{id}", repo_info),
    ("GET", r"/api/{types}/{id}/revision/{rev}", repo_info),
    ("GET", r"/api/{types}/{id}/auth-check(?:/(?P<write>write))?", auth_check),
    ("GET", r"/api/{types}/{id}/tree/{rev}(?:/(?P<folder>.*))?", tree),
    ("POST", r"/api/{types}/{id}/paths-info/{rev}", paths_info),
    ("GET", r"/api/{types}/{id}/refs", refs),
    ("GET", r"/api/{types}/{id}/commits/{rev}", commits),
]
