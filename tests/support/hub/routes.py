"""From a request to the function that answers it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.support.hub import (
    routes_discussions,
    routes_files,
    routes_jobs,
    routes_lfs,
    routes_read,
    routes_write,
    routes_xet,
)
from tests.support.hub.messages import Request, Response, refusal
from tests.support.hub.store import HubError

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub

TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
PARTS = {
    "{types}": r"(?P<types>models|datasets|spaces)",
    "{prefix}": r"/(?:(?P<types>datasets|spaces)/)?",
    # A name may hold dots, but `.git` at its end belongs to the LFS addresses.
    "{id}": r"(?P<repo_id>(?!api/)[\w.-]+/[\w.-]+?)",
    "{rev}": r"(?P<revision>refs/(?:pr|convert|heads|tags)/[^/]+|[^/]+)",
}


def _compiled(routes: list) -> list:
    compiled = []
    for method, pattern, function in routes:
        for name, part in PARTS.items():
            pattern = pattern.replace(name, part)
        compiled.append((method, re.compile(pattern), function))
    return compiled


ROUTES = {
    "hub": _compiled(
        routes_read.ROUTES
        + routes_write.ROUTES
        + routes_lfs.ROUTES
        + routes_discussions.ROUTES
        + routes_files.ROUTES
        + routes_jobs.ROUTES
        + routes_xet.ROUTES
    ),
    "storage": _compiled(
        routes_lfs.STORAGE_ROUTES + routes_files.STORAGE_ROUTES + routes_xet.STORAGE_ROUTES
    ),
}
REPO = re.compile(
    r"/(?:api/(?=models/|datasets/|spaces/))?(?:(?P<types>models|datasets|spaces)/)?"
    r"(?P<repo_id>(?!api/)[\w.-]+/[\w.-]+?)(?:\.git)?(?:/.*)?"
)


def dispatch(hub: Hub, origin: str, request: Request) -> Response:
    """The answer to a request; whatever the Hub refuses is an answer too."""
    method = "GET" if request.method == "HEAD" else request.method
    for wanted, pattern, function in ROUTES[origin]:
        found = pattern.fullmatch(request.path) if method == wanted else None
        if found is None:
            continue
        names = {name: unquote(value) for name, value in found.groupdict().items() if value}
        if "types" in pattern.groupindex:
            names["repo_type"] = TYPES[names.pop("types", "models")]
        try:
            return function(hub, request, **names)
        except HubError as error:
            return refusal(error)
    if method == "GET" and request.path.startswith("/api/telemetry"):
        return Response(200)
    return refusal(HubError(404, None, f"Sorry, we can't find the page {request.path}"))


def repo_of(path: str) -> tuple[str, str]:
    """(type, id) of the repository an address is about; ValueError if it is about none."""
    found = REPO.fullmatch(path)
    if found is None:
        raise ValueError(f"{path} is not about a repository")
    return TYPES[found["types"] or "models"], found["repo_id"]
