"""People as judges, from the command to their votes."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kosent_hub.judging import rubric, verdicts
from kosent_hub.judging.people.page import whole_page
from kosent_hub.judging.people.queue import KEYS, queue
from kosent_hub.judging.people.server import serve
from kosent_hub.judging.people.votes import rater_hash, shown_item
from kosent_hub.judging.reading import Stored, read_stored
from kosent_hub.judging.verdicts import FOLDER, PEOPLE, Votes, about, votes_path
from kosent_hub.models.data.outside import SAMPLE
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write, decode_text, exclusive

COMMAND = "kosent-judge --people"
# So many samples unless a limit is given: what one person can read.
LIMIT = 100
PAGE = "judge.html"
# The text that an exported page's queue is drawn from.
QUEUE = "[0-9a-f]{8}"


def serve_page(
    folders: Sequence[str | Path],
    limit: int | None,
    port: int,
    announce: Callable[[str], None],
) -> None:
    """Serve the page on this machine until interrupted; `announce` is given its address.

    Raises KoSentError for folders that cannot be judged, a port that cannot be had, and where
    another such page is open.
    """
    stored = read_stored(folders)
    limit = _assert_limit(limit)
    verdicts.read_all(stored)  # votes on replies of another run are better met now than later
    with exclusive(stored.folders[0] / FOLDER / PEOPLE, COMMAND):
        serve(stored, limit, port, announce)
    print(f"next: {_report(stored)}", file=sys.stderr)


def export_page(
    folders: Sequence[str | Path], limit: int | None, out: Path, *, overwrite: bool = False
) -> Path:
    """The page as one HTML file in the folder `out`, for a rater without this program.

    Raises KoSentError for folders that cannot be judged, and for a file that is there already.
    """
    stored = read_stored(folders)
    limit = _assert_limit(limit)
    path = out / PAGE
    if path.exists() and not overwrite:
        raise KoSentError(path, "is there already", "replace it with --overwrite")
    name = secrets.token_hex(4)
    data = {
        "queue": name,
        "about": {
            "replies_sha256": stored.sha256,
            "rubric_sha256": rubric.sha256(),
            "limit": limit,
        },
        "items": [shown_item(stored, shown) for shown in queue(stored, limit, name)],
    }
    atomic_write(path, whole_page(data).encode())
    if stored.dataset.source != SAMPLE:
        print(
            f"{path} holds text of {stored.dataset.id}: AI Hub's terms forbid to pass its text on, "
            "so give it only to people who may have it",
            file=sys.stderr,
        )
    print(f"next: {COMMAND} --votes FILE with what the page gives back", file=sys.stderr)
    return path


def read_votes_file(folders: Sequence[str | Path], file: Path, *, overwrite: bool = False) -> Votes:
    """The votes that an exported page gave back, now beside the evaluation.

    Raises KoSentError for a file that is none, and for votes on replies of another run.
    """
    stored = read_stored(folders)
    found = _read(file, stored)
    path = votes_path(stored, found.rater, found.queue)
    if path.exists() and not overwrite and verdicts.read_votes(path, stored) != found:
        raise KoSentError(
            path, "other votes of this rater are there", "replace them with --overwrite"
        )
    verdicts.write(path, found)
    return found


def _read(file: Path, stored: Stored) -> Votes:
    where, remedy = file, "name the file that the exported page saved"
    text = decode_text(file.read_bytes(), file, remedy)
    try:
        found = json.loads(text)
        nickname, name, votes = found["rater"], found["queue"], found["votes"]
        limit = found["limit"]
        hashes = found["replies_sha256"], found["rubric_sha256"]
        whole = isinstance(nickname, str) and isinstance(name, str)
        whole = whole and re.fullmatch(QUEUE, name) is not None and isinstance(limit, int)
        whole = whole and all(vote in KEYS for vote in votes)
    except (ValueError, RecursionError, TypeError, KeyError):
        whole = False
    if not whole:
        raise KoSentError(where, "no votes of an exported page", remedy)
    if hashes != (stored.sha256, rubric.sha256()):
        raise KoSentError(
            where,
            "votes on replies of another run, or by another rubric",
            "name the folders that the page was exported from",
        )
    if len(votes) > sum(1 for _ in queue(stored, limit, name)):
        raise KoSentError(where, "more votes than pairs", remedy)
    return Votes(about(stored), rater_hash(nickname), name, limit, list(votes))


def _assert_limit(limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise KoSentError(f"--limit {limit}", "must be 1 or more")
    return LIMIT if limit is None else limit


def _report(stored: Stored) -> str:
    return f"kosent-judge report {' '.join(map(str, stored.folders))}"
