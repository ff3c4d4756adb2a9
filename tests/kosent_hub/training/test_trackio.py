"""`--report_to trackio`: live curves that stay on this machine.

`make trackio-setup` installs trackio; what needs it is skipped without it.
"""

import json
import sqlite3
from importlib.util import find_spec
from pathlib import Path

import pytest

from model_card import records
from tests.kosent_hub.conftest import BASE

TRACKIO = find_spec("trackio") is not None
TRAIN = (
    f"kosent-train --config smollm2-135m/cpu --model_name_or_path {BASE} --dataset_name dataset "
    "--max_steps 3 --logging_steps 1 --eval_steps 3 --dtype float32 --bf16 false "
    "--report_to trackio --output_dir live --project kosent --run_name first"
).split()
# Every address that the command's Python code asks for or sends to, in a file.
WATCH = """
import os, sys

def say(*words):
    with open(os.environ["ASKED"], "a") as file:
        print(*words, file=file)

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"):
        say(event, *(arguments[:1] if event == "socket.getaddrinfo" else arguments[1:2]))

sys.addaudithook(note)
say("watching")
"""


@pytest.mark.skipif(TRACKIO, reason="trackio is installed")
def test_without_trackio_the_command_that_installs_it_is_said(run, workplace, nobody):
    done = run(TRAIN, cwd=workplace, env=nobody)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "kosent_hub.train: --report_to trackio: it is not installed: pip install 'trackio>=0.43'"
    ]


@pytest.mark.long
@pytest.mark.skipif(not TRACKIO, reason="make trackio-setup")
def test_curves_are_there_while_it_trains_and_go_nowhere(
    run, workplace: Path, nobody: dict[str, str], tmp_path: Path
):
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    asked = tmp_path / "asked"
    env = nobody | {
        "PYTHONPATH": str(tmp_path / "watch"),
        "ASKED": str(asked),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }
    refused = run(TRAIN, cwd=workplace, env=nobody | {"TRACKIO_SPACE_ID": "kosent/curves"})
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "kosent_hub.train: TRACKIO_SPACE_ID is set, and curves stay on this machine: unset it"
    )
    done = run(TRAIN, cwd=workplace, env=env, fresh=True, timeout=1800)
    assert (done.returncode, done.stdout) == (0, "live\n"), done.stderr
    assert "trackio show --project" in done.stderr
    watching, *addresses = asked.read_text().splitlines()
    assert watching == "watching"
    assert not [line for line in addresses if "127.0.0.1" not in line and line != watching]

    (file,) = (tmp_path / "trackio").rglob("*.db")
    with sqlite3.connect(file) as database:
        rows = [json.loads(row) for (row,) in database.execute("SELECT metrics FROM metrics")]
    log = (workplace / "live" / records.LOG_HISTORY_PATH).read_text().splitlines()
    losses = [entry["loss"] for entry in map(json.loads, log) if "loss" in entry]
    assert len(losses) == 3
    assert [row["train/loss"] for row in rows if "train/loss" in row] == losses
    assert list((workplace / "live" / "runs").rglob("*tfevents*")), "TensorBoard's beside them"
    config = records.read(records.Run, workplace / "live" / records.RUN_PATH).config
    assert not {"project", "run_name"} & config.keys()
