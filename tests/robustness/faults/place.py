"""Where the matrix is tried: a Hub, a working folder, the command in it, and what came of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from tests.robustness.faults.table import (
    BASE,
    DATA,
    DONE,
    EVALUATE,
    MODEL,
    PUSH_DATA,
    TRAINING,
    Command,
    Row,
)
from tests.support import fork_server
from tests.support.fork_server import SCRIPTS
from tests.support.hub import Hub

OLD = {
    "old data": {"data/train-00000-of-00002.parquet": b"of an older build"},
    "old model": {"README.md": b"---\nlicense: mit\n---\n# Mine\n\nMy own words.\n"},
}

REPOS = {
    "base": (BASE, "model"),
    "data": (DATA, "dataset"),
    "old data": (DATA, "dataset"),
    "model": (MODEL, "model"),
    "old model": (MODEL, "model"),
}

# Lines on stderr that say how it goes: bars, waits (ours and the client's), what was found.
PROGRESS = re.compile(
    r"trying again in|Retrying in|Rate limited|thrown while requesting|Error while downloading"
    r"|Trying to resume|Max retries exceeded|it/s\]|s/it\]|%\|| samples|^\s*$|^results: |^next: "
    r"|: transformers, |its licence could not be read there|^train: |^validation: |dialogues"
    r"|^card: |to consider$|^pushed; |^in the model's card: |Loading weights|Generating|Map"
    r"|^scoring|B/s\]|: an adapter of |replies are kept from an earlier run"
)
# When scores were made and of which commit, as their records say it: others' commits move on.
MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00|\b([0-9a-f]{40}|[0-9a-f]{12})\b")
NEXT = re.compile(
    r"run the same command|kosent-train push |`hf auth login`|use a token with write"
    r"|make one that may write|unset it|check the name"
)

Files = dict[str, bytes]
Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Goods:
    """What the commands start from: folders by name, and contents of repos by name."""

    folders: Mapping[str, Path]
    repos: Mapping[str, Files]


@dataclass(frozen=True)
class Place:
    """The Hub and the folder that the commands work with; one case at a time."""

    hub: Hub
    folder: Path

    def lay_out(self, command: Command, goods: Goods) -> Path:
        """An empty Hub and folder with what the command starts from; the folder."""
        self.hub.empty()
        for name in command.hub:
            repo_id, kind = REPOS[name]
            files = OLD[name] if name.startswith("old ") else goods.repos[name]
            self.hub.create(repo_id, kind, private=kind == "dataset", files=files)
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for name in command.local:
            shutil.copytree(goods.folders[name], work / name)
        return work

    def run(
        self,
        program: str,
        arguments: tuple[str, ...],
        *,
        user: str = "alice",
        read_only: bool = False,
        network: str = "hub",
        retry_seconds: str = "1",
    ) -> Ended:
        """Run a command in the working folder, with a cache that holds nothing."""
        shutil.rmtree(self.hub.home, ignore_errors=True)
        env = self.hub.env(user, read_only)
        if network == "offline":  # an environment that has a server of forks
            env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_TOKEN": env["HF_TOKEN"]}
        env["KOSENT_HUB_RETRY_SECONDS"] = retry_seconds
        command = [program] if program in SCRIPTS else [sys.executable, "-m", program]
        with self.hub.away() if network == "none" else nullcontext():
            return fork_server.run(
                [*command, *arguments], env=env, cwd=self.folder / "work", timeout=600
            )

    def files(self, command: Command) -> Files | None:
        """What the repo that the command writes holds, None if there is none."""
        if command.writes is None or not self.hub.exists(*command.writes):
            return None
        return self.hub.files(*command.writes)


def stock(place: Place, folder: Path, base: Files, dataset: Path) -> Goods:
    """What the commands start from, made by the commands themselves while all goes well."""
    repos: dict[str, Files] = {"base": base}
    goods = Goods({"dataset": dataset}, repos)

    def make(command: Command, name: str | None = None) -> None:
        work = place.lay_out(command, goods)
        ended = place.run(command.program, command.arguments)
        assert ended.returncode == 0, ended.stderr
        if name is not None:
            shutil.copytree(work / name, folder / name)

    make(PUSH_DATA)
    repos["data"] = _without_attributes(place.hub.files(DATA, "dataset"))
    make(TRAINING, "run")
    repos["model"] = _without_attributes(place.hub.files(MODEL))
    goods = Goods({**goods.folders, "run": folder / "run"}, repos)
    make(replace(EVALUATE, local=()), "scores")
    return Goods({**goods.folders, "scores": folder / "scores"}, repos)


def _without_attributes(files: Files) -> Files:
    return {path: data for path, data in files.items() if path != ".gitattributes"}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, but those that a command makes anew each time."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def attempt(
    place: Place,
    command: Command,
    row: Row,
    goods: Goods,
    fresh: Files | None,
    *,
    resume: bool = True,
) -> None:
    """Try one cell of the matrix; AssertionError unless it ends as the table says.

    `fresh` is what the command writes when all goes well. With `resume`, what a LINE says to do
    next is tried as well.
    """
    work = place.lay_out(command, goods)
    if row.change is not None:
        row.change(place.hub)
    faults = [place.hub.fault(**hit) for hit in row.hits]
    before, local = place.files(command), tree(work)
    ended = place.run(
        command.program,
        command.arguments,
        user=row.user,
        read_only=row.read_only,
        network=row.network,
        # A fault that passes is waited out however slow the machine; one that stays need not be.
        retry_seconds="5" if row.ends[command.name] == DONE else "0.3",
    )
    shown = f"{ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    assert all(fault.hits for fault in faults), f"the fault did not happen\n{shown}"
    _keeps_secrets(ended)
    _keeps_work(work, local)
    fresh = _trained(work, fresh) if command is TRAINING else fresh
    _one_commit(place, command, fresh)
    if row.ends[command.name] == DONE:
        assert ended.returncode == 0, shown
        assert _differences(place.files(command), fresh) == [], shown
        return
    line = _the_line(command, ended)
    assert re.search(row.says, line), line
    # As it was; gone, where the fault took it; or created, with nothing of ours in it yet.
    after = place.files(command)
    created = after is not None and after.keys() <= {".gitattributes", "foreign.txt"}
    assert after is None or created or not _differences(after, before)
    if resume:
        _resume(place, command, row, goods, fresh, line)


def _resume(
    place: Place, command: Command, row: Row, goods: Goods, fresh: Files | None, line: str
) -> None:
    """What the line says to do next, once the fault is gone, brings what was missing."""
    place.hub.clear_faults()
    place.hub.accounts.tokens.clear()  # a new token
    work = place.folder / "work"
    local = tree(work)
    gone = not all(place.hub.exists(*REPOS[name]) for name in command.hub)
    if gone or row.change is not None:
        place.lay_out(command, goods)
    program, arguments = command.program, command.arguments
    push = re.search(r"(kosent-train) (push .*)$", line)
    if push is not None:
        program, arguments = push[1], tuple(shlex.split(push[2]))
    ended = place.run(program, arguments)
    assert ended.returncode == 0, f"after: {line}\n{ended.stderr}"
    fresh = _trained(work, fresh) if command is TRAINING else fresh
    assert _differences(place.files(command), fresh) == [], ended.stderr
    _keeps_work(work, local)


def _trained(work: Path, fresh: Files | None) -> Files:
    """What a training pushes: the paths that any does, with what this one left in its folder."""
    run = work / "run"
    return {
        path: (run / path).read_bytes() if (run / path).is_file() else data
        for path, data in (fresh or {}).items()
    }


def _keeps_secrets(ended: Ended) -> None:
    """No traceback, no token, nothing of the corpus on the screen."""
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said, said
    assert not re.search(r"hf_\w{8}", said), said
    assert "면접이 내일이라" not in said and "떨려" not in said, said


def _keeps_work(work: Path, local: Mapping[str, bytes]) -> None:
    """Whatever lay there still does; replies above all are neither lost nor made again."""
    now = tree(work)
    for path, data in local.items():
        if "/completions-" in path or path.startswith(("dataset/", "run/")):
            assert now.get(path) == data, f"{path} was changed"
        else:
            assert path in now, f"{path} was lost"


def _one_commit(place: Place, command: Command, fresh: Files | None) -> None:
    """Every commit of ours is whole: no reader ever saw half of it."""
    if command.writes is None or not place.hub.exists(*command.writes):
        return
    written = [
        sha
        for sha, title, author in place.hub.commits(*command.writes)
        if author == "alice" and title not in ("initial commit", "Upload files")
    ]
    assert len(written) <= 1, "more than one commit"
    for sha in written:
        assert _differences(place.hub.files(*command.writes, revision=sha), fresh) == []


def _differences(files: Files | None, wanted: Files | None) -> list[str]:
    """Paths at which a repo does not hold what it should, beside what others put there."""
    if files is None or wanted is None:
        return [] if files == wanted else ["the repo"]
    # A training run tells how long it took.
    told = {"kosent/run.json", "kosent/log_history.jsonl", "README.md"}
    told.add("runs/kosent/events.out.tfevents")
    volatile = {".gitattributes"} | (told if "kosent/run.json" in wanted else set())
    paths = (files.keys() | wanted.keys()) - {"foreign.txt"}
    return [
        path
        for path in sorted(paths)
        if (path in files) != (path in wanted)
        or (path not in volatile and MOMENT.sub(b"", files[path]) != MOMENT.sub(b"", wanted[path]))
    ]


def _the_line(command: Command, ended: Ended) -> str:
    """The one line that says what went wrong, where, and what to do next."""
    shown = f"{ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    assert ended.returncode == 2, shown
    lines = [line for line in re.split(r"[\r\n]+", ended.stderr) if not PROGRESS.search(line)]
    assert lines[-1].startswith(f"{command.program}: "), shown
    # Training checks all it needs at once, and lists several problems above its line.
    listed = [line for line in lines if re.match(r"\d+\. ", line)]
    assert len(lines) == 1 + len(listed), f"{lines}\n{shown}"
    said = " ".join(lines)
    assert re.search(r"https?://|HF_HUB_OFFLINE|alice/|bob/|token", said), said
    assert NEXT.search(said), said
    return said
