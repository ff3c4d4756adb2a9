"""Whether the Hub still does what this project counts on: a token's owner runs it once.

    make hub-check REPO=ORG/NAME        or python -m tests.tools.hub_check ORG/NAME [--yes]

It makes two private repos, ORG/NAME-XXXXXXXX, a dataset and a model, with eight random letters;
what goes there is the synthetic sample. It prints a table of what held, and in any case deletes
the two again, and nothing that it did not make. The exit status is 0 if all held, 1 if not, 2 if
it did not start. The tests run it against the test Hub, and each row against a broken one.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from dataset_builder import BuildOptions, build
from dataset_builder.folder import data_path, read_splits
from model_card.publishing import front_matter
from model_card.publishing.commit import Head, Operation, commit, read_head, writer
from model_card.publishing.errors import KoSentError, explain
from model_card.publishing.hub_ids import is_hub_id
from tests.support import ROOT

SAMPLE = ROOT / "dataset_builder" / "sample"
RECORDS = ROOT / "tests" / "model_card" / "records" / "adapter"
README, OWN_WORDS = "README.md", "\nA line that somebody wrote.\n"
LOAD = """
import sys
from datasets import load_dataset
print(*load_dataset(sys.argv[1], split="test")["dialogue_id"], sep="\\n")
"""


@dataclass
class Scratch:
    """The repos of one check: `name` is the id of both; `made` are the types that exist by now."""

    name: str
    folder: Path
    api: HfApi
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    made: list[str] = field(default_factory=list)

    def make(self, repo_type: str) -> None:
        """A new private repo; an error if there is one of that name already."""
        try:
            self.api.create_repo(self.name, repo_type=repo_type, private=True, exist_ok=False)
        except HfHubHTTPError:
            raise
        except Exception:  # an answer that was lost: it may be there, and then it is ours
            self.made.append(repo_type)
            raise
        self.made.append(repo_type)

    def run(self, *command: str) -> str:
        """The output of one of our commands, in a process of its own, with an empty cache."""
        env = self.env | {"HF_HUB_CACHE": tempfile.mkdtemp(dir=self.folder)}
        env["HF_DATASETS_CACHE"] = tempfile.mkdtemp(dir=self.folder)
        done = subprocess.run(
            [sys.executable, *command], env=env, cwd=ROOT, capture_output=True, text=True
        )
        held(done.returncode == 0, (done.stderr.strip().splitlines() or ["no message"])[-1])
        return done.stdout

    def head(self, repo_type: str) -> Head:
        return read_head(self.name, repo_type=repo_type, api=self.api)

    def commits(self, repo_type: str) -> int:
        return len(self.api.list_repo_commits(self.name, repo_type=repo_type))

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"


class NotHeld(Exception):
    """What the Hub did otherwise."""


def held(true: bool, otherwise: str) -> None:
    if not true:
        raise NotHeld(otherwise)


def push(scratch: Scratch) -> None:
    """`kosent-data push` is one private commit, and none the second time"""
    build(BuildOptions(source=SAMPLE, out=scratch.dataset))
    before = scratch.commits("dataset")
    for _ in range(2):
        push_data(scratch)
    made = scratch.commits("dataset") - before
    held(made == 1, f"{made} commits")
    held(scratch.head("dataset").private, "the repo is public")


def push_data(scratch: Scratch) -> None:
    command = ("-m", "dataset_builder.cli", "push", str(scratch.dataset))
    scratch.run(*command, "--repo-id", scratch.name)


def xet(scratch: Scratch) -> None:
    """Parquet files travelled by Xet"""
    (found,) = scratch.api.get_paths_info(
        scratch.name, [data_path("train")], repo_type="dataset", expand=True
    )
    held(bool(getattr(found, "xet_hash", None)), "the file has no Xet hash")


def load(scratch: Scratch) -> None:
    """`load_dataset` gives the same rows"""
    rows = read_splits(scratch.dataset)["test"]["dialogue_id"].to_pylist()
    held(scratch.run("-c", LOAD, scratch.name).split() == rows, "other rows")


def edit(scratch: Scratch) -> None:
    """What somebody wrote into the card stays; a file that was deleted is gone"""
    card = scratch.head("dataset").read(README) or b""
    own = CommitOperationAdd(README, card + OWN_WORDS.encode())
    extra = CommitOperationAdd("extra.txt", b"soon gone\n")
    _commit(scratch, "dataset", [own, extra])
    _commit(scratch, "dataset", [CommitOperationDelete("extra.txt")])
    push_data(scratch)
    after = scratch.head("dataset")
    held(OWN_WORDS in (after.read(README) or b"").decode(), "the words are gone")
    held("extra.txt" not in after.paths(), "the file is still there")


def race(scratch: Scratch) -> None:
    """Of two writers at once, both commits are there, one after the other"""
    together = threading.Barrier(2, timeout=60)
    before, problems = scratch.commits("model"), []
    names = [f"race-{secrets.token_hex(4)}.txt" for _ in range(2)]

    def write(name: str) -> None:
        met = False

        def build(head: Head) -> list[Operation]:
            nonlocal met
            if not met:  # both have read the same head
                met = True
                together.wait()
            return [CommitOperationAdd(name, name.encode())]

        try:
            commit(scratch.name, build, message=f"Race: {name}", api=scratch.api)
        except Exception as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in names]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    if problems:
        raise problems[0]
    held(set(names) <= set(scratch.head("model").paths()), "a file is missing")
    made = scratch.commits("model") - before
    held(made == 2, f"{made} commits")


def card(scratch: Scratch) -> None:
    """The Hub reads the metadata of a card that `kosent-card push` wrote"""
    command = ("-m", "model_card.cli", "push", str(RECORDS))
    scratch.run(*command, "--repo-id", scratch.name)
    written = front_matter.read((scratch.head("model").read(README) or b"").decode())
    info = scratch.api.model_info(scratch.name)
    held(info.pipeline_tag == written["pipeline_tag"], f"pipeline_tag is {info.pipeline_tag}")
    held(info.library_name == written["library_name"], f"library_name is {info.library_name}")
    missing = set(written["tags"]) - set(info.tags or [])
    held(not missing, f"no tag {', '.join(sorted(missing))}")


def refusal(scratch: Scratch) -> None:
    """A card with an unknown licence is refused, and nothing is written"""
    before = scratch.head("model").sha
    bad = CommitOperationAdd(README, b"---\nlicense: no-such-licence\n---\n# Bad\n")
    try:
        commit(scratch.name, lambda head: [bad], message="Bad card", api=scratch.api)
    except KoSentError as error:
        held("refuses this card" in error.what, error.what)
    else:
        raise NotHeld("the Hub took it")
    held(scratch.head("model").sha == before, "something was written")


def pull_request(scratch: Scratch) -> None:
    """A pull request holds the change, and main does not"""
    new = CommitOperationAdd("proposed.txt", b"proposed\n")
    info = scratch.api.create_commit(scratch.name, [new], commit_message="Propose", create_pr=True)
    there = read_head(scratch.name, revision=info.pr_revision, api=scratch.api)
    held("proposed.txt" in there.paths(), "the pull request does not have the file")
    held("proposed.txt" not in scratch.head("model").paths(), "main has the file")


def private(scratch: Scratch) -> None:
    """Without a token nobody sees the repos"""
    for repo_type in ("dataset", "model"):
        try:
            scratch.api.repo_info(scratch.name, repo_type=repo_type, token=False)
        except RepositoryNotFoundError:
            continue
        raise NotHeld(f"a stranger sees the {repo_type}")


def gated(scratch: Scratch) -> None:
    """The dataset can be gated, its card then says what it asks, and opened again"""
    for gate in ("manual", False):
        scratch.api.update_repo_settings(scratch.name, repo_type="dataset", gated=gate)
        stated = scratch.api.dataset_info(scratch.name).gated
        held(stated == gate, f"gated is {stated}, and should be {gate}")
        held(scratch.head("dataset").gated == bool(gate), "our own reading of it differs")


def _commit(scratch: Scratch, repo_type: str, operations: list[Operation]) -> None:
    scratch.api.create_commit(
        scratch.name, operations, repo_type=repo_type, commit_message="By hand"
    )


ROWS: tuple[Callable[[Scratch], None], ...] = (
    *(push, xet, load, edit, race, card, refusal, pull_request, private, gated),
)


def outcome(row: Callable[[Scratch], None], scratch: Scratch) -> str:
    """ "" if the row held, else what was otherwise, in a line."""
    try:
        row(scratch)
    except NotHeld as error:
        return str(error)
    except Exception as error:
        said = explain(error) or f"{type(error).__name__}: {error}"
        return " ".join(said.split())[:200]
    return ""


def delete(scratch: Scratch) -> str:
    """ "" if the repos of this check are gone, else which are left and why."""
    left = []
    for repo_type in scratch.made:
        try:
            scratch.api.delete_repo(scratch.name, repo_type=repo_type, missing_ok=True)
            if scratch.api.repo_exists(scratch.name, repo_type=repo_type):
                left.append(f"{repo_type} {scratch.name}: still there")
        except Exception as error:  # whatever it is, the other one is deleted
            said = " ".join(str(error).split())[:120]
            left.append(f"{repo_type} {scratch.name}: delete it yourself ({said})")
    return "; ".join(left)


def check(scratch: Scratch) -> dict[str, str]:
    """Row -> "" or what was otherwise; the repos are deleted whatever happens."""
    found: dict[str, str] = {}
    try:
        for repo_type in ("dataset", "model"):
            scratch.make(repo_type)
        for row in ROWS:
            title = row.__doc__ or row.__name__
            print(f"{title} ...", file=sys.stderr, flush=True)
            found[title] = outcome(row, scratch)
    finally:
        found["Both repos are deleted"] = delete(scratch)
        if found["Both repos are deleted"]:
            print(found["Both repos are deleted"], file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.hub_check", description=__doc__)
    parser.add_argument("repo_id", metavar="ORG/NAME", help="what the scratch repos' names begin")
    parser.add_argument("--yes", action="store_true", help="do not ask before it starts")
    args = parser.parse_args()
    name = f"{args.repo_id}-{secrets.token_hex(4)}"
    api = HfApi()
    try:
        if not is_hub_id(name):
            raise KoSentError(args.repo_id, "not a full repo id", "write it as ORG/NAME")
        user = writer(name)["name"]
    except Exception as error:
        print(f"hub-check: {explain(error) or error}", file=sys.stderr)
        return 2
    print(
        f"As {user} at {api.endpoint}: makes the private dataset and the private model {name}, "
        "writes some MB to them, and deletes both.",
        file=sys.stderr,
    )
    if not args.yes and not _agreed():
        print("hub-check: nothing was done", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = check(Scratch(name, Path(folder), api))
        except Exception as error:
            print(f"hub-check: {explain(error) or error}", file=sys.stderr)
            return 2
    print("| what should hold | held |\n|---|---|")
    for title, otherwise in found.items():
        print(f"| {title} | {'yes' if not otherwise else f'**no**: {otherwise}'} |")
    return 1 if any(found.values()) else 0


def _agreed() -> bool:
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
