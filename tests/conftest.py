"""Fixtures for all tests: a Hub, tiny models, and commands run as a user runs them.

Nothing here or in a test reaches the real Hub or the user's own files: the libraries read
their settings when they are imported, so those are moved before any test module is.
"""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import certifi
import hypothesis
import pytest
from filelock import FileLock

from tests.support import ROOT, fork_server, slow
from tests.support.browser import browser as browser
from tests.support.browser import page as page

# Models that take a while to make are kept with the environment that made them.
MODELS = Path(sys.prefix) / "share" / "kosent-hub-tests"
OFFLINE = "http://127.0.0.1:9"  # the discard port: refused at once

Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmarks", action="store_true", help="collect tests/benchmarks too")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow or long only")
    parser.addoption("--seed", help="of the slow tests, those that this seed draws; none is long")
    parser.addoption(
        "--record", action="store_true", help="write down how long each slow test took"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Benchmarks only when asked; tests of vLLM and of harnesses only in their environments."""
    benchmarks = ROOT / "tests" / "benchmarks"
    if collection_path.is_relative_to(benchmarks) and not config.getoption("--benchmarks"):
        return True
    needed = {"test_vllm.py": "vllm", "test_harnesses.py": "inspect_ai"}.get(collection_path.name)
    return True if needed and find_spec(needed) is None else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Quick tests, or with --slow the others: all of them, or those that a seed draws."""
    long = {item.nodeid for item in items if item.get_closest_marker("long")}
    late = long | {item.nodeid for item in items if item.get_closest_marker("slow")}
    wanted = {item.nodeid for item in items} - late
    if config.getoption("--slow"):
        seed = config.getoption("--seed")
        wanted = slow.draw(late - long, seed) if seed else late
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
    items[:] = in_order([item for item in items if item.nodeid in wanted])


TESTS = ROOT / "tests"
# What starts commands that import torch, or scripts that do.
HEAVY = (
    *(
        "tests/kosent_hub/",
        "tests/support/test_fork_server.py",
        "tests/support/hub/test_clients.py",
    ),
    "tests/model_card/render/test_snippets.py",
)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests as workers best share them, each beginning with a part of its own.

    The first third starts commands that import torch, with a Hub; the last one does so without a
    Hub too. A worker that is done takes over the end of another's part, so little is needed there.
    """
    first = [item for item in items if item.nodeid.startswith(HEAVY)]
    last = [item for item in items if item.path.parent in (TESTS / "robustness", TESTS / "whole")]
    # One that takes a minute begins; one that needs no server ends.
    last.sort(key=lambda item: ("test_package" in item.nodeid, "test_the_way" not in item.nodeid))
    requests = [item for item in items if item.path.parent == TESTS / "robustness" / "faults"]
    some = {*first, *last, *requests}
    return [*first, *(item for item in items if item not in some), *last, *requests]


@pytest.hookimpl(optionalhook=True)  # the environment of vLLM has no xdist
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: tests wait now and then, but each worker imports."""
    return (3 * len(os.sched_getaffinity(0)) + 1) // 2


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("--seed")
    return f"slow tests of one draw; the same again: make test-slow SEED={seed}" if seed else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was left out for want of a browser; how long slow tests took, if that is wanted."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    reports = [report for report in reports if isinstance(report, pytest.TestReport)]
    skipped = [report for report in reports if report.skipped and "test_browser" in report.nodeid]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests in a browser were skipped, for want of Chromium or a Korean "
            "font; this installs both: apt-get install chromium fonts-noto-cjk"
        )
    if config.getoption("--record"):
        slow.record(reports)


def pytest_configure(config: pytest.Config) -> None:
    """Point the Hub libraries of this process, and of subprocesses, away from home.

    Under CI, property tests try the same examples every time; elsewhere they go on looking.
    """
    hypothesis.settings.register_profile(
        "kosent", deadline=None, derandomize=os.environ.get("CI") == "true"
    )
    hypothesis.settings.load_profile("kosent")
    # A shell starts background jobs with Ctrl-C ignored, and what they start inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    home = tempfile.TemporaryDirectory(prefix="kosent-tests-")
    config.add_cleanup(home.cleanup)
    for name in list(os.environ):
        if name.upper().startswith(("HF_", "HUGGING", "DATASETS_", "TRANSFORMERS_")):
            del os.environ[name]
    os.environ |= {
        "HF_HOME": home.name,
        "HF_ENDPOINT": OFFLINE,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "KOSENT_HUB_RETRY_SECONDS": "1",
        "SSL_CERT_FILE": str(_one_authority(Path(home.name))),
    }
    if config.getoption("numprocesses", None):
        first = fork_server.ForkServer(os.environ, fork_server.SERVERS)
        config.add_cleanup(first.close)
        first.begin()
        os.environ[fork_server.FIRST] = first.address
    if hasattr(config, "workerinput"):
        # The cores are the tests' beside this one; benchmarks run alone, as users' commands do.
        gc.disable()  # until all test modules are imported
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}


def _one_authority(folder: Path) -> Path:
    """A file with one certificate: nothing here speaks TLS, and all take 40 ms for each client."""
    known = Path(certifi.where()).read_text("utf-8")
    end = "-----END CERTIFICATE-----"
    file = folder / "authority.pem"
    file.write_text(known[: known.index(end)] + end, "utf-8")
    return file


@pytest.fixture(autouse=True)
def unmarked() -> Iterator[None]:
    """No test meets what another left in this process: downloads, the session with retries."""
    yield
    shutil.rmtree(Path(os.environ["HF_HOME"]) / "hub", ignore_errors=True)
    http = sys.modules.get("huggingface_hub.utils._http")
    # Only where a command put another: a new client takes a while to make.
    if http is not None and http._GLOBAL_CLIENT_FACTORY is not http.default_client_factory:
        http.set_client_factory(http.default_client_factory)


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """Commands without a Hub are forks; those that talk to `hub` are, once there is one."""
    fork_server.serve(os.environ)
    fork_server.serve(os.environ | {"HF_HUB_OFFLINE": "1"})
    yield
    fork_server.stop()


@pytest.fixture(scope="session")
def worker_hub(tmp_path_factory: pytest.TempPathFactory, forks: None) -> Iterator:
    """The Hub of this test process: its address stays, for libraries that read it on import."""
    from tests.support.hub import Hub

    with Hub(tmp_path_factory.mktemp("hf-home")) as running:
        fork_server.serve(running.env(None))
        yield running


@pytest.fixture
def hub(worker_hub):
    """A Hub with nothing on it, and an empty cache of it; see tests/support/hub/hub.py."""
    worker_hub.empty()
    return worker_hub


@pytest.fixture
def retries() -> None:
    """The session of our commands, with its retries, for a test that calls what they call."""
    from model_card.publishing import session

    session.install()


@pytest.fixture(scope="session")
def run() -> Run:
    """`run(["kosent-data", "--help"], env=..., cwd=...)`; see `fork_server.run`."""
    return fork_server.run


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of the embedded base model, made once per environment.

    Two folders up, it has the name of its Hub id: `HuggingFaceTB/SmolLM2-135M-Instruct`.
    """
    room = ROOT / "kosent_hub" / "demo_models"
    source = "".join((room / name).read_text("utf-8") for name in ("gguf_files.py", "smollm2.py"))
    return made("HuggingFaceTB/SmolLM2-135M-Instruct", WRITE_SMOLLM2, source)


@pytest.fixture(scope="session")
def tiny_llama(smollm2: Path) -> Path:
    """Folder of a random two-layer Llama (hidden 64) with the first 1,000 tokens of SmolLM2's."""
    return made("tiny-llama", WRITE_TINY_LLAMA, str(smollm2), arguments=[smollm2])


# Both in a fork: this process stays free of torch.
WRITE_SMOLLM2 = """
import sys
from pathlib import Path
from kosent_hub.demo_models.smollm2 import write_smollm2
write_smollm2(Path(sys.argv[1]))
"""
WRITE_TINY_LLAMA = """
import json, shutil, sys
from pathlib import Path
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
folder, base = map(Path, sys.argv[1:])
folder.mkdir()
for name in ("chat_template.jinja", "tokenizer_config.json"):
    shutil.copy(base / name, folder)
settings = json.loads((base / "tokenizer.json").read_text("utf-8"))
known = {token: number for token, number in settings["model"]["vocab"].items() if number < 1000}
merges = [pair.split() if isinstance(pair, str) else pair for pair in settings["model"]["merges"]]
merges = [[a, b] for a, b in merges if a in known and b in known and a + b in known]
settings["model"] |= {"vocab": known, "merges": merges}
(folder / "tokenizer.json").write_text(json.dumps(settings, ensure_ascii=False), "utf-8")
tokenizer = AutoTokenizer.from_pretrained(folder)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
    bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
))
model.save_pretrained(folder)
tokenizer.save_pretrained(folder)
"""


def made(name: str, script: str, source: str, arguments: Sequence[Path] = ()) -> Path:
    """The folder `script` writes; kept for as long as `source`, what it is made from, is the same.

    It appears whole, and one of several test processes makes it while the others wait.
    """
    key = hashlib.sha256(f"{script}{source}".encode()).hexdigest()[:12]
    folder = MODELS / key / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                fresh = Path(scratch) / folder.name
                command = [sys.executable, "-c", script, str(fresh), *map(str, arguments)]
                done = fork_server.run(command, env=os.environ, script=True)
                assert done.returncode == 0, done.stderr
                fresh.rename(folder)
    return folder
