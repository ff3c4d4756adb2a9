"""Requests and answers as the routes see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.hub.accounts import Token
from tests.support.hub.store import HubError


@dataclass(frozen=True)
class Request:
    """`path` is still quoted: `refs%2Fpr%2F1` is one part of it."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    token: Token | None

    def arg(self, name: str) -> str | None:
        return self.query.get(name, [None])[0]

    def flag(self, name: str) -> bool:
        return (self.arg(name) or "").lower() in ("1", "true")

    def json(self) -> dict[str, Any]:
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise HubError(400, None, "Malformed JSON") from None


@dataclass(frozen=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    content = json.dumps(value, ensure_ascii=False).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Response(status, content, {**kind, **(headers or {})})


def refusal(error: HubError, headers: Mapping[str, str] | None = None) -> Response:
    """What the Hub says no with: the message in the body and in a header."""
    said = {"X-Error-Message": error.message.encode("ascii", "replace").decode()}
    if error.code:
        said["X-Error-Code"] = error.code
    return answer({"error": error.message}, error.status, {**said, **(headers or {})})
