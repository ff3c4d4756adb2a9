"""Who is asking, and what they may do: users, organisations, tokens, gates."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.hub.store import HubError, Repo

USERS = ("alice", "bob", "carol")
# organisation -> user -> role; bob is a stranger, carol a member who may only read.
ORGANISATIONS = {"kosent": {"alice": "write", "carol": "read"}}


@dataclass(frozen=True)
class Token:
    secret: str
    user: str
    read_only: bool = False
    expired: bool = False


@dataclass
class Accounts:
    """Tokens in use, by their secret."""

    tokens: dict[str, Token] = field(default_factory=dict)

    def token(self, user: str, read_only: bool) -> str:
        """Secret of the user's token, the same one each time."""
        if user not in USERS:
            raise ValueError(f"no user {user!r}; there are {', '.join(USERS)}")
        secret = f"hf_{user}{'Read' if read_only else 'Write'}".ljust(37, "x")
        self.tokens.setdefault(secret, Token(secret, user, read_only))
        return secret

    def expire(self, secret: str) -> None:
        token = self.tokens[secret]
        self.tokens[secret] = Token(secret, token.user, token.read_only, expired=True)

    def authenticate(self, authorization: str | None) -> Token | None:
        """The token of an `Authorization` header, None without one; 401 if it is no good."""
        if not authorization:
            return None
        token = self.tokens.get(authorization.removeprefix("Bearer ").strip())
        if token is None:
            raise HubError(401, None, "Invalid credentials in Authorization header")
        if token.expired:
            raise HubError(401, None, 'User Access Token "kosent-tests" is expired')
        return token


def may_read(token: Token | None, repo: Repo) -> bool:
    """Whether the repository exists for this caller; a gate does not hide it."""
    if not repo.private:
        return True
    return token is not None and (
        token.user == repo.owner or token.user in ORGANISATIONS.get(repo.owner, {})
    )


def may_write_namespace(token: Token | None, namespace: str) -> bool:
    if token is None or token.read_only:
        return False
    return token.user == namespace or (ORGANISATIONS.get(namespace, {}).get(token.user) == "write")


def may_open(token: Token | None, repo: Repo) -> bool:
    """Whether the caller may read the files behind the gate."""
    if not repo.gated:
        return True
    return token is not None and (
        token.user in repo.readers
        or token.user == repo.owner
        or ORGANISATIONS.get(repo.owner, {}).get(token.user) == "write"
    )


def require_read(token: Token | None, repo: Repo) -> Repo:
    """The repository, or the Hub's way of saying that there is none: 401 to a stranger."""
    if may_read(token, repo):
        return repo
    raise missing_repo(token)


def missing_repo(token: Token | None) -> HubError:
    if token is None:
        return HubError(401, "RepoNotFound", "Invalid username or password.")
    return HubError(404, "RepoNotFound", "Repository not found")


def require_open(token: Token | None, repo: Repo) -> Repo:
    require_read(token, repo)
    if may_open(token, repo):
        return repo
    restricted = f"Access to {repo.type} {repo.id} is restricted"
    if token is None:
        raise HubError(
            401,
            "GatedRepo",
            f"{restricted}. You must have access to it and be authenticated to access it. "
            "Please log in.",
        )
    raise HubError(
        403,
        "GatedRepo",
        f"{restricted} and you are not in the authorized list. "
        f"Visit https://huggingface.co/{repo.id} to ask for access.",
    )


def require_token(token: Token | None) -> Token:
    if token is None:
        raise HubError(401, None, "Invalid username or password.")
    return token


def require_write(
    token: Token | None, repo: Repo, *, pull_request: bool = False, ref: str | None = None
) -> Token:
    """The caller's token, if it may write: anybody who can read may open a pull request."""
    require_read(token, repo)
    token = require_token(token)
    if token.read_only:
        raise HubError(
            403,
            None,
            f"Forbidden: you must use a write token to upload to a repository. ({repo.id})",
        )
    if pull_request or may_write_namespace(token, repo.owner):
        return token
    if ref is not None and any(
        ref == f"refs/pr/{d.num}" and d.author == token.user for d in repo.discussions
    ):
        return token
    raise HubError(
        403, None, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"
    )
