"""Every fault at every request that a commit takes, in process, with our commands' session."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd

from model_card.publishing.commit import commit
from model_card.publishing.errors import explain

pytestmark = pytest.mark.usefixtures("retries")

REPO = "alice/model"
WEIGHTS = b"weights" * 10_000
NOTES = b"before\n" * 1000

# One request of each kind, in the order in which `commit` sends them.
STAGES = {
    "ask": r"GET /api/models/alice/model(\?|$)",
    "list": "GET .*/tree/",
    "download": "GET .*/resolve/.*notes",
    "preupload": "POST .*/preupload/",
    "batch": "POST .*/objects/batch",
    "upload": "PUT /upload/",
    "commit": "POST .*/commit/",
}
ALL, UPLOAD = tuple(STAGES), ("upload",)
WITH_BODY = ASKING = tuple(stage for stage in STAGES if stage != "upload")
# A commit whose answer breaks off has landed, and is found.
LOSING = tuple(stage for stage in ASKING if stage != "commit")
WAITING = ("reset during", "cut short")
BROKEN, NOT_UPLOADED = "not reachable", "could not be uploaded"

# A fault's name, kind, options, and the stages where it can hit.
PASSING: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    ("429", "status", {"code": 429, "retry_after": 0}, ALL),
    *((str(code), "status", {"code": code}, ALL) for code in (500, 502, 503, 504)),
    *((f"reset {w}", "reset", {"when": w}, ALL) for w in ("before", "reading", "unanswered")),
    ("reset during", "reset", {"when": "during"}, WITH_BODY),
    ("reset after", "reset", {"when": "after"}, ALL),
    ("answer lost", "lost_answer", {}, ALL),
    ("cut short", "truncate", {}, WITH_BODY),
    ("trickle", "trickle", {"chunk": 3000, "pause": 0.01}, WITH_BODY),
    ("other bytes", "corrupt", {}, ("download",)),
    ("web page", "html", {}, ALL),
    ("refused", "lfs_refused", {}, ("batch",)),
]
# The same, and what is said in the end.
LASTING: list[tuple[str, str, dict[str, Any], tuple[str, ...], str]] = [
    ("429", "status", {"code": 429, "retry_after": 0}, ASKING, "429"),
    ("429 for long", "status", {"code": 429, "retry_after": 600}, ASKING, "wait 600 s"),
    *((str(c), "status", {"code": c}, ASKING, str(c)) for c in (500, 502, 503, 504)),
    *((f"reset {w}", "reset", {"when": w}, ASKING, BROKEN) for w in ("before", "unanswered")),
    ("reset during", "reset", {"when": "during"}, LOSING, BROKEN),
    ("cut short", "truncate", {"keep": 9}, LOSING, BROKEN),
    ("other bytes", "corrupt", {}, ("download",), "is not what the repo holds"),
    ("web page", "html", {}, LOSING, "web page"),
    ("web page", "html", {}, ("commit",), "answer makes no sense"),
    ("refused", "lfs_refused", {}, ("batch",), "storage refuses a file"),
    # The client tries an upload again and again by itself, and then says what went wrong.
    ("429", "status", {"code": 429, "retry_after": 0}, UPLOAD, NOT_UPLOADED),
    *((str(c), "status", {"code": c}, UPLOAD, NOT_UPLOADED) for c in (500, 502, 503, 504)),
    *((f"reset {w}", "reset", {"when": w}, UPLOAD, NOT_UPLOADED) for w in ("before", "unanswered")),
    ("web page", "html", {}, UPLOAD, NOT_UPLOADED),
]


@pytest.fixture(autouse=True)
def repo(hub) -> None:
    hub.create(REPO, files={"notes.txt": NOTES})


def write(hub) -> str:
    """A commit that reads a file, and writes a small and a large one."""

    def build(head):
        lines = head.read("notes.txt").replace(b"alice's\n", b"") + b"alice's\n"
        return [
            CommitOperationAdd("notes.txt", lines),
            CommitOperationAdd("model.safetensors", WEIGHTS),
        ]

    return commit(REPO, build, message="Write", api=hub.api())


def is_written(hub) -> bool:
    files = hub.files(REPO)
    return (files["notes.txt"], files.get("model.safetensors")) == (NOTES + b"alice's\n", WEIGHTS)


@pytest.mark.parametrize(
    ("stage", "kind", "options"),
    [
        pytest.param(stage, kind, options, id=f"{stage}: {name}")
        for name, kind, options, stages in PASSING
        for stage in stages
    ],
)
def test_a_fault_that_passes_is_waited_out(hub, monkeypatch, stage, kind, options):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "2")
    fault = hub.fault(STAGES[stage], kind, **options)
    write(hub)
    assert fault.hits == 1
    assert is_written(hub)
    assert [title for _, title, _ in hub.commits(REPO)].count("Write") == 1


@pytest.mark.parametrize(
    ("stage", "kind", "options", "says"),
    [
        pytest.param(
            *(stage, kind, options, says),
            id=f"{stage}: {name}",
            # The client itself waits between its tries.
            marks=[pytest.mark.slow]
            if stage == "upload" or (stage == "download" and name in WAITING)
            else [],
        )
        for name, kind, options, stages, says in LASTING
        for stage in stages
    ],
)
def test_a_fault_that_stays_is_one_line_and_nothing_is_written(
    hub, monkeypatch, stage, kind, options, says
):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "0.2")
    before = hub.head(REPO)
    fault = hub.fault(STAGES[stage], kind, times=None, **options)
    with pytest.raises(Exception) as raised:
        write(hub)
    assert fault.hits
    line = explain(raised.value)
    assert line is not None, "a bug, as far as the user is told"
    assert says in line and "\n" not in line
    assert hub.head(REPO) == before
    hub.clear_faults()
    write(hub)
    assert is_written(hub)
