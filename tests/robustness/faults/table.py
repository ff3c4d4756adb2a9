"""The matrix: every command that talks to the Hub, and everything that may go wrong on the way.

A row is a fault and where it hits; a column is a command; a cell is how that ends: DONE, after
bounded retries, or LINE, one line with what to do next. `-` is a fault the command cannot meet.
The tests are made from these tables, and so is docs/faults.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.support.hub import Hub

DONE, LINE, NOT_MET = "done", "line", "-"
# Where a fault hits.
ONCE, EVER = "every request, once", "every request, for ever"
FROM_THE_START = "from the start"

BASE, DATA, MODEL = "bob/tiny-base", "alice/emotions", "alice/tiny-KoSent"


@dataclass(frozen=True)
class Command:
    """A column. `local` lies in its folder and `hub` on the Hub when it starts (see place.py).

    `writes` is the repo it brings up to date, and that repo's type.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    local: tuple[str, ...]
    hub: tuple[str, ...]
    writes: tuple[str, str] | None = None


EVAL = ("--model", MODEL, "--dataset", DATA, "--embedder", "none", "--max-new-tokens", "4")
EVAL += ("--no-safety", "--output", "scores")
TRAIN = ("--config", "smollm2-135m/cpu", "--model_name_or_path", BASE, "--dataset_name", DATA)
TRAIN += ("--max_steps", "2", "--warmup_steps", "0", "--eval_strategy", "no", "--output_dir", "run")
TRAIN += ("--push_to_hub", "true", "--hub_model_id", MODEL)

PUSH_DATA = Command(
    "kosent-data push",
    "kosent-data",
    ("push", "dataset", "--repo-id", DATA),
    local=("dataset",),
    hub=("old data",),
    writes=(DATA, "dataset"),
)
TRAINING = Command(
    "training and its push",
    "kosent_hub.train",
    TRAIN,
    local=(),
    hub=("base", "data"),
    writes=(MODEL, "model"),
)
PUSH_RUN = Command(
    "kosent_hub.push",
    "kosent_hub.push",
    ("run", "--repo-id", MODEL),
    local=("run",),
    hub=("base", "old model"),
    writes=(MODEL, "model"),
)
EVALUATE = Command(
    "kosent-eval", "kosent-eval", EVAL, local=("scores",), hub=("base", "data", "model")
)
PUSH_SCORES = replace(
    EVALUATE, name="kosent-eval --push", arguments=(*EVAL, "--push"), writes=(MODEL, "model")
)
PUSH_CARD = replace(
    PUSH_RUN,
    name="kosent-card push",
    program="kosent-card",
    arguments=("push", "run", "--repo-id", MODEL),
)
CHECK_CARD = Command(
    "kosent-card check", "kosent-card", ("check", MODEL), local=(), hub=("base", "model")
)
COMMANDS = (PUSH_DATA, TRAINING, PUSH_RUN, EVALUATE, PUSH_SCORES, PUSH_CARD, CHECK_CARD)
WRITING = tuple(command for command in COMMANDS if command.writes)
READING = tuple(command for command in COMMANDS if not command.writes)
LOADING = (TRAINING, EVALUATE, PUSH_SCORES)
WITH_BASE = tuple(command for command in COMMANDS if command is not PUSH_DATA)


@dataclass(frozen=True)
class Row:
    """A fault: what the test Hub does (`hits`, see support/hub/faults.py), or how things stand.

    `says` is a pattern that a LINE must show.
    """

    fault: str
    where: str
    ends: Mapping[str, str]
    hits: tuple[Mapping[str, Any], ...] = ()
    says: str = ""
    user: str = "alice"
    read_only: bool = False
    network: str = "hub"
    change: Callable[[Hub], None] | None = None

    @property
    def key(self) -> str:
        """What no other row is called."""
        return f"{self.fault}, {self.where}"

    def quick(self, command: Command) -> bool:
        """Whether every test run tries this cell; the others wait for `--slow`.

        One fault that passes, one that stays, and each standing refusal.
        """
        if self.where == FROM_THE_START:
            return self.ends[command.name] == LINE
        return self.fault == "503" and self.where in (ONCE, EVER)


def ends(how: str, *columns: Command) -> dict[str, str]:
    """How a fault ends: so in `columns` (all), not met in the others."""
    return {c.name: how if c in (columns or COMMANDS) else NOT_MET for c in COMMANDS}


def hit(match: str, kind: str, times: int | None = None, **options: Any) -> dict[str, Any]:
    """The arguments of one `Hub.fault`."""
    return {"match": match, "kind": kind, "times": times, **options}


def _once() -> Iterator[Row]:
    """The first request to every address fails, and the next one does not."""

    def row(fault: str, kind: str, **options: Any) -> Row:
        return Row(fault, ONCE, ends(DONE), (hit(".", kind, each=True, **options),))

    yield row("429 with Retry-After", "status", code=429, retry_after=0)
    for code in (500, 502, 503, 504):
        yield row(str(code), "status", code=code, retry_after=0)
    yield row("reset before the request", "reset", when="before")
    yield row("reset in the request", "reset", when="reading")
    yield row("reset instead of an answer", "reset", when="unanswered")
    yield row("reset in the answer", "reset", when="during")
    yield row("reset after the answer", "reset", when="after")
    yield row("answer lost, the request carried out", "lost_answer")
    yield row("answer cut short", "truncate")
    yield row("answer in a trickle", "trickle", chunk=250_000, pause=0.05)
    yield row("a web page for an answer", "html")


def _for_ever() -> Iterator[Row]:
    """Every request fails, from the first one on."""

    def row(fault: str, kind: str, says: str, **options: Any) -> Row:
        return Row(fault, EVER, ends(LINE), (hit(".", kind, **options),), says)

    yield row("429 with Retry-After", "status", "429", code=429, retry_after=0)
    yield row("429 that asks for ten minutes", "status", "wait 600 s", code=429, retry_after=600)
    for code in (500, 502, 503, 504):
        yield row(str(code), "status", str(code), code=code)
    broken = "not reachable"
    yield row("reset before the request", "reset", broken, when="before")
    yield row("reset instead of an answer", "reset", broken, when="unanswered")
    yield row("reset in the answer", "reset", broken, when="during")
    yield row("answer cut short", "truncate", broken, keep=9)
    yield row("a web page for an answer", "html", "web page .* check HF_ENDPOINT")


def _downloads() -> Iterator[Row]:
    """Questions are answered, files do not arrive."""

    def row(fault: str, kind: str, **options: Any) -> Row:
        hits = (hit("GET .*(/resolve/|/cdn/)", kind, **options),)
        # What `kosent-data push` reads of a repo is its README, and here it has none.
        downloading = tuple(command for command in COMMANDS if command is not PUSH_DATA)
        return Row(fault, "downloads, for ever", ends(LINE, *downloading), hits)

    yield row("503", "status", code=503)
    yield row("reset in the answer", "reset", when="during")
    yield row("answer cut short", "truncate")
    yield row("a web page for an answer", "html")
    yield Row(
        "repo deleted",
        "at a download",
        ends(LINE, EVALUATE, PUSH_SCORES),
        (hit("HEAD .*KoSent/resolve/", "delete_repo", 1),),
        "no such repository",
    )


def _commits() -> Iterator[Row]:
    """All is read and made, and only the writing fails."""

    def row(fault: str, end: str, says: str, *hits: Mapping[str, Any], **options: Any) -> Row:
        where = options.pop("where", "at the commit")
        return Row(fault, where, ends(end, *WRITING), hits, says, **options)

    at = "POST .*/commit/"
    ever = "at the commit, for ever"
    yield row("503", LINE, "503", hit(at, "status", code=503), where=ever)
    slow = hit(at, "status", code=429, retry_after=600)
    yield row("429 that asks for ten minutes", LINE, "wait 600 s", slow, where=ever)
    unanswered = hit(at, "reset", when="unanswered")
    yield row("reset instead of an answer", LINE, "not reachable", unanswered, where=ever)
    yield row("a web page for an answer", LINE, "", hit(at, "html"), where=ever)
    yield row("answer lost, the commit landed", DONE, "", hit(at, "lost_answer"))
    yield row("another commit in between", DONE, "", hit(at, "commit", 1))
    yield row("ten other commits in between", DONE, "", hit(at, "commit", 10))
    often = "others committed 21 times"
    yield row("other commits in between", LINE, often, hit(at, "commit"), where="for ever")
    yield row("repo deleted", LINE, "no such repository", hit(at, "delete_repo", 1))
    yield row("token expired", LINE, "token was refused", hit(at, "expire_token", 1))


def _uploads() -> Iterator[Row]:
    """Storage for large files fails."""
    uploading = (PUSH_DATA, TRAINING, PUSH_RUN)  # the others write no large file

    def row(fault: str, where: str, end: str, **fault_: Any) -> Row:
        return Row(fault, where, ends(end, *uploading), (fault_,))

    put, batch = "PUT /upload/", "objects/batch"
    yield row("upload answered 500", "once", DONE, **hit(put, "status", 1, code=500))
    yield row("upload answered 500", "for ever", LINE, **hit(put, "status", code=500))
    yield row("upload's address too old (403)", "once", DONE, **hit(put, "status", 1, code=403))
    yield row("upload reset", "once", DONE, **hit(put, "reset", 1, when="reading"))
    yield row("upload refused", "once", DONE, **hit(batch, "lfs_refused", 1))
    yield row("upload refused", "for ever", LINE, **hit(batch, "lfs_refused"))


def _standing() -> Iterator[Row]:
    """Not a fault of the moment: who asks, what for, and from where."""

    def row(fault: str, how: Mapping[str, str], says: str, **options: Any) -> Row:
        return Row(fault, FROM_THE_START, how, says=says, **options)

    yield row("token expired", ends(LINE), "token was refused.*hf auth login",
              hits=(hit(".", "expire_token", 1),))  # fmt: skip
    how = ends(DONE) | _named(WRITING, LINE)
    yield row("read-only token", how, "token", read_only=True)
    how = ends(DONE, *WITH_BASE) | _named(LOADING, LINE)
    yield row("gated base model", how, "gated repository; accept its terms",
              change=lambda hub: _gate(hub, BASE))  # fmt: skip
    yield row("private base model", how, "no such repository, or it is private",
              change=lambda hub: _hide(hub, BASE))  # fmt: skip
    yield row("somebody else's private repo", ends(LINE), "token may not", user="carol",
              change=lambda hub: _hide(hub, MODEL))  # fmt: skip
    how = ends(LINE) | _named((PUSH_DATA, PUSH_RUN, PUSH_CARD), DONE)
    yield row("a repo of another type by that name", how, "no such repository", change=_swap)
    yield row("no network", ends(LINE), "not reachable", network="none")
    yield row("HF_HUB_OFFLINE=1", ends(LINE), "HF_HUB_OFFLINE=1 is set", network="offline")


def _named(columns: tuple[Command, ...], how: str) -> dict[str, str]:
    return {command.name: how for command in columns}


def _gate(hub: Hub, repo_id: str) -> None:
    hub.store.repo("model", repo_id).gated = "auto"


def _hide(hub: Hub, repo_id: str) -> None:
    for (_, name), repo in hub.store.repos.items():
        repo.private = repo.private or name == repo_id


def _swap(hub: Hub) -> None:
    """Models become datasets and datasets models, but for the base."""
    for (kind, name), repo in list(hub.store.repos.items()):
        if name != BASE:
            repo.type = "dataset" if kind == "model" else "model"
            hub.store.repos[repo.type, name] = hub.store.repos.pop((kind, name))


ROWS = (*_once(), *_for_ever(), *_downloads(), *_commits(), *_uploads(), *_standing())
