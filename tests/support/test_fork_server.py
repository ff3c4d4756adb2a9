"""A fork is as good as a new process: how it ends, what it reads, says and inherits."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support import fork_server

CODE = """
import atexit, os, sys, threading, time
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
print(sys.stdin.read(), os.environ["MINE"], os.getcwd(), sys.argv, __name__, file=sys.stderr)
sys.exit(eval(sys.argv[1]))
"""


@pytest.fixture(params=["fork", "process"])
def way(request) -> dict[str, bool]:
    """How a script is run: both ways must give the same."""
    return {"script": request.param == "fork"}


@pytest.fixture
def env(worker_hub) -> dict[str, str]:
    return worker_hub.env(None) | {"MINE": "mine"}


@pytest.mark.parametrize(("value", "status"), [("None", 0), ("0", 0), ("3", 3), ("'why'", 1)])
def test_how_it_ends(env, tmp_path, way, value, status):
    command = [sys.executable, "-c", CODE, value]
    done = fork_server.run(command, env=env, cwd=tmp_path, input="말", **way)
    assert (done.returncode, done.stdout) == (status, "thread\nat exit\n")
    said = f"말 mine {tmp_path} ['-c', \"{value}\"] __main__\n".replace('"', "'")
    assert done.stderr.replace('"', "'") == said + ("why\n" if status == 1 else "")


def test_an_error_is_a_traceback(env, way):
    done = fork_server.run([sys.executable, "-c", "1 / 0"], env=env, **way)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_signals_reach_it(env, way):
    code = "import time\ntry:\n    print(1, flush=True)\n    time.sleep(60)\n"
    code += "except KeyboardInterrupt:\n    print(2)"
    for number, said, status in ((signal.SIGINT, "2\n", 0), (signal.SIGKILL, "", -signal.SIGKILL)):
        with fork_server.start([sys.executable, "-c", code], env=env, **way) as process:
            assert process.stdout.readline() == "1\n"
            assert process.poll() is None
            process.send_signal(number)
            assert process.communicate() == (said, "")
        assert process.returncode == status


def test_one_that_takes_too_long_is_ended(env, way):
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(subprocess.TimeoutExpired):
        fork_server.run(command, env=env, timeout=0.3, **way)


def test_what_is_read_on_import_is_never_another_environments(env, tmp_path):
    code = "from huggingface_hub import constants; print(constants.HF_HOME)"
    other = env | {"HF_HOME": str(tmp_path)}
    for asked in (env, other):
        done = fork_server.run([sys.executable, "-c", code], env=asked, script=True)
        assert done.stdout == f"{asked['HF_HOME']}\n"


def test_forks_draw_different_pauses(env):
    command = [sys.executable, "-c", "import random; print(random.random())"]
    first, second = (fork_server.run(command, env=env, script=True).stdout for _ in range(2))
    assert first != second


def test_a_command_is_found_by_name_path_and_module():
    build = ("dataset_builder.cli", ["build"])
    for command in (
        ["kosent-data", "build"],
        ["/some/where/bin/kosent-data", "build"],
        [sys.executable, "-m", "dataset_builder.cli", "build"],
        ["python", "-m", "dataset_builder.cli", "build"],
    ):
        assert fork_server.module_of(command) == build
    for command in (["accelerate", "launch"], ["python", "-I", "-c", ""], ["python"], ["hf"]):
        assert fork_server.module_of(command) is None
