"""Every fault at every request that a commit takes, in process, with our commands' session."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd

from model_card.commit import commit
from model_card.errors import explain

pytestmark = pytest.mark.usefixtures("patient")

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
# What a fault needs to be one at a stage: an answer's body, or an object to refuse.
WITH_BODY = ("ask", "list", "download", "preupload", "batch", "commit")
BATCH = ("batch",)
ALL = tuple(STAGES)
# An answer that breaks off belongs to a commit that landed, which is found.
LOSING = tuple(stage for stage in WITH_BODY if stage != "commit")
READING = tuple(stage for stage in ALL if stage != "commit")

Fault = tuple[str, str, dict[str, Any], tuple[str, ...]]
PASSING: list[Fault] = [
    ("429", "status", {"code": 429, "retry_after": 0}, ALL),
    *((str(code), "status", {"code": code}, ALL) for code in (500, 502, 503, 504)),
    *((f"reset {when}", "reset", {"when": when}, ALL) for when in ("before", "reading")),
    ("reset unanswered", "reset", {"when": "unanswered"}, ALL),
    ("reset during", "reset", {"when": "during"}, WITH_BODY),
    ("reset after", "reset", {"when": "after"}, ALL),
    ("answer lost", "lost_answer", {}, ALL),
    ("cut short", "truncate", {}, WITH_BODY),
    ("trickle", "trickle", {"chunk": 3000, "pause": 0.01}, WITH_BODY),
    ("other bytes", "corrupt", {}, ("download",)),
    ("web page", "html", {}, ALL),
    ("refused", "lfs_refused", {}, BATCH),
]
LASTING: list[tuple[Fault, str]] = [
    (("429", "status", {"code": 429, "retry_after": 0}, ALL), "429"),
    (("429 for ten minutes", "status", {"code": 429, "retry_after": 600}, ALL), "wait 600 s"),
    *((("%d" % c, "status", {"code": c}, ALL), str(c)) for c in (500, 502, 503, 504)),  # noqa: UP031
    *(
        ((f"reset {when}", "reset", {"when": when}, ALL), "not reachable")
        for when in ("before", "unanswered")
    ),
    (("reset during", "reset", {"when": "during"}, LOSING), "not reachable"),
    (("cut short", "truncate", {"keep": 9}, LOSING), "not reachable"),
    (("other bytes", "corrupt", {}, ("download",)), "is not what the repo holds"),
    (("web page", "html", {}, READING), "web page"),
    (("web page", "html", {}, ("commit",)), "answer makes no sense"),
    (("refused", "lfs_refused", {}, BATCH), "storage refuses a file"),
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


def cases(faults: list[Fault]) -> list:
    return [
        pytest.param(stage, kind, options, id=f"{stage}: {name}")
        for name, kind, options, stages in faults
        for stage in stages
    ]


@pytest.mark.parametrize(("stage", "kind", "options"), cases(PASSING))
def test_a_fault_that_passes_is_waited_out(hub, monkeypatch, stage, kind, options):
    monkeypatch.setenv("KOSENT_HUB_PATIENCE", "5")
    fault = hub.fault(STAGES[stage], kind, **options)
    write(hub)
    assert fault.hits == 1
    assert is_written(hub)
    assert [title for _, title, _ in hub.commits(REPO)].count("Write") == 1


@pytest.mark.parametrize(
    ("stage", "kind", "options", "says"),
    [
        pytest.param(
            *(stage, kind, options, "could not be uploaded" if stage == "upload" else says),
            id=f"{stage}: {name}",
            # The client itself tries an upload again and again, for half a minute.
            marks=[pytest.mark.slow] if stage == "upload" else [],
        )
        for (name, kind, options, stages), says in LASTING
        for stage in stages
    ],
)
def test_a_fault_that_stays_is_one_line_and_nothing_is_written(
    hub, monkeypatch, stage, kind, options, says
):
    monkeypatch.setenv("KOSENT_HUB_PATIENCE", "0.2")
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
