"""Commands in forks of one process that has imported what they need.

A new process spends ten seconds on importing torch, transformers and trl; a fork of a process that
has done so starts at once, and is otherwise as good as new. A fork cannot undo what libraries read
from the environment when they are imported (HF_ENDPOINT, HF_HOME and their like), so there is a
server for each set of those: a command whose environment has others needs a process of its own.
Importing what reads nothing of the environment is most of the work, so the processes of a test run
share a first server, which has done that much and whose forks become their servers. All of them
have torch then; that commands without it never import it is tested in processes of their own.

    python -m tests.support.fork_server SOCKET MODULE...      serves these until its stdin ends
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import random
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.support import ROOT

DISTURBED = ROOT / "tests" / "support" / "disturbed" / "sitecustomize.py"

# Console scripts, and the modules they start.
SCRIPTS = {
    "kosent-card": "model_card.cli",
    "kosent-chat": "kosent_hub.chat",
    "kosent-data": "dataset_builder.cli",
    "kosent-demo": "kosent_hub.demo",
    "kosent-eval": "kosent_hub.evaluate",
    "kosent-judge": "kosent_hub.judge",
    "kosent-export": "kosent_hub.export",
    "kosent-plan": "kosent_hub.plan",
    "kosent-train": "kosent_hub.train",
}
LIGHT = ("dataset_builder.cli", "model_card.cli")
MODULES = (*SCRIPTS.values(), "kosent_hub.push")
SERVERS = ("tests.support.fork_server",)
# What a server imports besides: for the commands without torch, and for all.
FOR_LIGHT = (
    "dataset_builder.builder",
    "dataset_builder.publish",
    "matplotlib.figure",
    "model_card.api",
)
FOR_ALL = (
    *("datasets", "evaluate", "peft", "sacrebleu", "sentence_transformers", "trl"),
    *("sacrebleu.tokenizers.tokenizer_ko_mecab", "torch.utils.tensorboard"),
    *("kosent_hub.evaluation.backends.local.backend", "kosent_hub.evaluation.run"),
    *("kosent_hub.chatting.local", "kosent_hub.chatting.run", "kosent_hub.chatting.terminal"),
    *(
        "kosent_hub.evaluation.table",
        "kosent_hub.models.inspection",
        "kosent_hub.training.checkpoints",
    ),
    *("kosent_hub.training.preflight", "kosent_hub.training.push", "kosent_hub.training.run"),
    *("kosent_hub.training.run_record", "kosent_hub.training.samples"),
    "kosent_hub.training.trainer",
    "kosent_hub.training.sample_replies",
)
# What the first server imports: nothing that reads the environment.
FOR_SERVERS = (
    *("PIL.Image", "aiohttp", "bitsandbytes", "filelock", "httpx2", "jinja2.sandbox"),
    *("kiwipiepy", "matplotlib.figure", "multiprocess", "pandas", "pyarrow.parquet", "requests"),
    *("rich.console", "sacrebleu.tokenizers.tokenizer_ko_mecab", "safetensors.torch"),
    *("scipy.stats", "sklearn.metrics", "tokenizers", "torch._dynamo", "torch.utils.tensorboard"),
    *("torch.distributed.tensor", "torch.nn.attention.flex_attention"),
)
# The variable with the address of the first server, where there is one.
FIRST = "KOSENT_TEST_FIRST_SERVER"
# No command of a test takes longer; a child that a test left behind must not stay.
LONGEST_SECONDS = 900

_READ_ON_IMPORT = re.compile(r"HF_(?!TOKEN$)|HUGGING|DATASETS_|TRANSFORMERS_|HTTPS?_PROXY", re.I)


def read_on_import(env: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """The variables that libraries read when they are imported."""
    return frozenset((k, v) for k, v in env.items() if _READ_ON_IMPORT.match(k))


def module_of(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module that a command starts, or `-c`, and what follows; None for other programs."""
    program, *arguments = command
    name = Path(program).name
    if name in SCRIPTS:
        return SCRIPTS[name], arguments
    if name.startswith("python") or program == sys.executable:
        match arguments:
            case ["-m", module, *rest] if module in (*MODULES, *SERVERS):
                return module, rest
            case ["-c", *rest]:
                return "-c", rest
    return None


# The client: what a test has.


class Forked:
    """A command in a fork: what tests use of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, command: Sequence[str], pipes: list[int]) -> None:
        self.args = list(command)
        self.returncode: int | None = None
        self._connection = connection
        stdin, stdout, stderr = pipes
        self.stdin = os.fdopen(stdin, "w", encoding="utf-8")
        self.stdout, self.stderr = (os.fdopen(n, encoding="utf-8") for n in (stdout, stderr))
        self.pid = _receive(connection)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        for file in (self.stdin, self.stdout, self.stderr):
            file.close()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the command as suddenly as the kernel does."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while the command runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = _receive(self._connection)
            self._connection.close()
        return self.returncode

    def communicate(
        self, input: str | None = None, timeout: float | None = None
    ) -> tuple[str, str]:
        """What the command wrote on stdout and stderr, once it has ended."""
        said = ["", ""]

        def read(number: int, file: io.TextIOBase) -> None:
            said[number] = file.read()

        files = (self.stdout, self.stderr)
        threads = [threading.Thread(target=read, args=each) for each in enumerate(files)]
        for thread in threads:
            thread.start()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(input or "")
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        for thread in threads:
            thread.join()
        for file in files:
            file.close()
        return said[0], said[1]


Process = subprocess.Popen[str] | Forked


def _send(connection: socket.socket, number: int) -> None:
    connection.sendall(number.to_bytes(4, "big", signed=True))


def _receive(connection: socket.socket) -> int:
    data = connection.recv(4, socket.MSG_WAITALL)
    if len(data) < 4:
        raise ConnectionError("the fork server has ended")
    return int.from_bytes(data, "big", signed=True)


class ForkServer:
    """A process that has imported what some modules need; started when first asked."""

    def __init__(self, env: Mapping[str, str], modules: tuple[str, ...] = MODULES) -> None:
        self.reads, self.modules = read_on_import(env), modules
        self._env = {**env, "OMP_NUM_THREADS": "1"}
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="kosent-forks-")
        self.address = str(Path(self._folder.name) / "socket")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
        self._folder.cleanup()

    def start(self, command: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> Forked:
        """A command at work, with pipes for its stdin, stdout and stderr."""
        assert read_on_import(env) == self.reads, "this environment needs another server"
        server = self.begin()
        try:
            return _fork_of(self.address, command, cwd, env)
        except ConnectionError as error:
            raise AssertionError(f"the fork server is gone: {server.communicate()[1]}") from error

    def begin(self) -> Process:
        """The process, started unless it is at work; it serves once it has imported all."""
        with self._lock:
            if self._process is not None:
                return self._process
            server = [sys.executable, "-m", *SERVERS, self.address, *self.modules]
            first = os.environ.get(FIRST)
            if first is None:
                self._process = _process(server, ROOT, self._env)
            else:
                self._process = _fork_of(first, server, ROOT, self._env)
            assert self._process.stdout is not None
            self._process.stdout.readline()
            return self._process


def _fork_of(
    address: str, command: Sequence[str], cwd: Path | None, env: Mapping[str, str]
) -> Forked:
    """A command that the server at an address has begun."""
    module = module_of(command)
    assert module is not None, f"{command[0]} is not one of ours"
    job = {"command": [*module], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
    (stdin, *reading), (writing, *outs) = zip(*(os.pipe() for _ in range(3)), strict=True)
    theirs, ours = [stdin, *outs], [writing, *reading]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    data = json.dumps(job).encode()
    socket.send_fds(connection, [len(data).to_bytes(4, "big")], theirs)
    connection.sendall(data)
    for number in theirs:
        os.close(number)
    return Forked(connection, command, ours)


def _process(
    command: Sequence[str], cwd: Path | None, env: Mapping[str, str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


_servers: list[ForkServer] = []


def serve(env: Mapping[str, str]) -> None:
    """From now on, commands with what is read on import of `env` are forks."""
    _servers.extend(ForkServer(env, modules) for modules in (LIGHT, MODULES))


def stop() -> None:
    """End all servers."""
    while _servers:
        _servers.pop().close()


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    fresh: bool = False,
    script: bool = False,
) -> Process:
    """A command at work, its program from beside this Python: a fork where that is as good.

    `fresh`: a new process in any case, for a test of how a command starts. `script`: a fork for
    `python -c` too, which then finds the commands' modules imported.
    """
    program, *arguments = map(str, command)
    here = Path(sys.executable).parent / program
    command = [str(here) if here.exists() else program, *arguments]
    env = dict(os.environ if env is None else env)
    module = module_of(command)
    if module is not None and not fresh:
        for server in _servers:
            wanted = "kosent_hub.train" if script and module[0] == "-c" else module[0]
            if wanted in server.modules and server.reads == read_on_import(env):
                return server.start(command, cwd, env)
    return _process(command, cwd, env)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300,
    input: str | None = None,
    **how: bool,
) -> subprocess.CompletedProcess[str]:
    """How a command ended that was started by `start`."""
    with start(command, env=env, cwd=cwd, **how) as process:
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


# The server.


def main() -> None:
    """Serve until stdin ends."""
    signal.alarm(0)  # a fork of the first server has one
    address, *modules = sys.argv[1:]
    children: dict[int, socket.socket] = {}
    ended, wakes = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("listening", flush=True)
        _import(tuple(modules))
        while True:
            ready, _, _ = select.select([listener, ended, sys.stdin], [], [])
            if ended in ready:
                os.read(ended, 4096)
                _report(children)
            if listener in ready:
                connection, _ = listener.accept()
                _fork(connection, children)
            if sys.stdin in ready:
                return


def _import(modules: tuple[str, ...]) -> None:
    """Import these and what they need, and fill what libraries keep for a process's life."""
    gc.disable()  # importing makes much, and leaves no rubbish
    needed = {SERVERS: FOR_SERVERS, LIGHT: FOR_LIGHT, MODULES: (*FOR_LIGHT, *FOR_ALL)}
    for name in (*modules, *needed[modules]):
        importlib.import_module(name)
    _warm_up(with_kiwi=modules != LIGHT)
    gc.collect()
    gc.freeze()  # a fork's own collections pass all this by
    gc.enable()


def _fork(connection: socket.socket, children: dict[int, socket.socket]) -> None:
    """Fork the command that is asked for, and answer its process number."""
    head, files, _, _ = socket.recv_fds(connection, 4, 3)
    data = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (connection, *children.values()):
            other.close()
        _become(json.loads(data), files)
    for number in files:
        os.close(number)
    children[child] = connection
    with contextlib.suppress(OSError):  # whoever asked is gone
        _send(connection, child)


def _report(children: dict[int, socket.socket]) -> None:
    """Answer the exit status of each command that has ended."""
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with children.pop(child) as connection, contextlib.suppress(OSError):
            _send(connection, os.waitstatus_to_exitcode(status))


def _warm_up(with_kiwi: bool) -> None:
    """Fill what a fork can use without the threads that filled it."""
    from model_card.render.card import LANGUAGES, _environment
    from model_card.render.plots import training_plots

    if with_kiwi:
        from kosent_hub.metrics.kosent_score.form import kiwi

        kiwi().tokenize("네.")  # its threads are for many texts, and not needed for a few
    training_plots([{"step": step, "loss": 1.0, "learning_rate": 1e-4} for step in (1, 2)])
    for language in LANGUAGES:
        _environment().get_template(f"template.{language}.md.jinja")


def _become(job: dict[str, Any], files: list[int]) -> NoReturn:
    """Be the command, from its first line to its exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(LONGEST_SECONDS)
    atexit._clear()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    random.seed()  # or all forks draw the same pauses
    module, arguments = job["command"]
    sys.argv = [module, *arguments]
    status: object = 1
    try:
        if "KOSENT_TEST_DISTURB" in os.environ:
            runpy.run_path(str(DISTURBED))
        if module == "-c":
            code, *sys.argv[1:] = arguments
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
        else:
            del sys.modules[module]  # run_module wants to import it itself
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(status or 0))


if __name__ == "__main__":
    main()
