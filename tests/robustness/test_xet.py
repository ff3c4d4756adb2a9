"""Files by Xet, as they travel to and from the real Hub, with the real hf-xet.

Other tests turn Xet off: it has a cache, and its own patience with storage that fails.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataset_builder.cli import main as kosent_data
from tests.robustness.faults.table import BASE, DATA, MODEL, PUSH_DATA, TRAINING
from tests.support import ROOT
from tests.support.hub.test_clients import no_hub_token_in_storage

pytestmark = pytest.mark.slow

LOAD = f"""
import json
from datasets import load_dataset
print(json.dumps(load_dataset("{DATA}", split="test")["messages"][:], ensure_ascii=False))
"""
ADAPTER = f"""
from peft import AutoPeftModelForCausalLM
print(type(AutoPeftModelForCausalLM.from_pretrained("{MODEL}")).__name__)
"""
# hf-xet's own patience: five attempts, the first pause of three seconds.
IMPATIENT = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2", "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms"}


@pytest.fixture
def ended(hub, run, tmp_path: Path):
    """Run a command in tmp_path as alice, with Xet."""

    def ended_command(*command: str, home: str = "here", script: bool = False):
        env = hub.env(home=tmp_path / home, xet=True) | IMPATIENT
        return run(command, env=env, cwd=tmp_path, script=script)

    return ended_command


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    source = str(ROOT / "dataset_builder" / "sample")
    assert kosent_data(["build", source, str(tmp_path / "dataset")]) == 0
    return tmp_path / "dataset"


def asked(hub, start: str) -> list:
    return [entry for entry in hub.journal if f"{entry.method} {entry.path}".startswith(start)]


def push_data(ended):
    return ended(PUSH_DATA.program, *PUSH_DATA.arguments)


def test_a_dataset_and_an_adapter_go_up_and_come_back(hub, ended, dataset, tiny_llama):
    hub.create(BASE, files={path.name: path for path in tiny_llama.iterdir() if path.is_file()})
    done = push_data(ended)
    assert done.returncode == 0, done.stderr
    local = {f"data/{path.name}": path.read_bytes() for path in (dataset / "data").iterdir()}
    assert hub.files(DATA, "dataset").items() >= local.items()
    assert len(hub.commits(DATA, "dataset")) == 2
    loaded = ended(sys.executable, "-c", LOAD, home="elsewhere", script=True)
    rows = pq.read_table(dataset / "data" / "test-00000-of-00001.parquet")["messages"].to_pylist()
    assert json.loads(loaded.stdout.splitlines()[-1]) == rows, loaded.stderr

    done = ended(sys.executable, "-m", TRAINING.program, *TRAINING.arguments)
    assert done.returncode == 0, done.stderr
    there = ended(sys.executable, "-c", ADAPTER, home="elsewhere", script=True)
    assert there.stdout.splitlines()[-1:] == ["PeftModelForCausalLM"], there.stderr
    assert asked(hub, "POST /v1/xorbs/") and asked(hub, "GET /xorb/")
    assert not asked(hub, "PUT /upload/"), "something went as LFS"
    assert no_hub_token_in_storage(hub)


def test_storage_that_takes_nothing_is_one_line_and_the_same_command_goes_on(hub, ended, dataset):
    fault = hub.fault("POST /v1/xorbs", "status", None, code=503)
    done = push_data(ended)
    assert fault.hits and done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "run the same command" in line and "Traceback" not in done.stderr, done.stderr
    assert hub.files(DATA, "dataset").keys() == {".gitattributes"}
    hub.clear_faults()
    assert push_data(ended).returncode == 0


@pytest.mark.parametrize("kind", ["reset", "lost_answer", "status"])
@pytest.mark.parametrize("step", ["POST /v1/xorbs", "POST /v2/shards", "GET .*xet-write-token"])
def test_a_fault_that_passes_leaves_one_commit(hub, ended, dataset, step: str, kind: str):
    fault = hub.fault(step, kind, 1)
    done = push_data(ended)
    assert done.returncode == 0, done.stderr
    assert fault.hits == 1
    assert len(hub.commits(DATA, "dataset")) == 2


@pytest.mark.parametrize("kind", ["reset", "corrupt", "truncate", "status"])
def test_what_arrives_broken_is_fetched_again(hub, ended, dataset, kind: str):
    assert push_data(ended).returncode == 0
    fault = hub.fault("GET /xorb/", kind, 1)
    loaded = ended(sys.executable, "-c", LOAD, home="elsewhere", script=True)
    rows = pq.read_table(dataset / "data" / "test-00000-of-00001.parquet")["messages"].to_pylist()
    assert json.loads(loaded.stdout.splitlines()[-1]) == rows, loaded.stderr
    assert fault.hits == 1
