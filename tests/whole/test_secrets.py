"""A token stays where it belongs: the real commands run, and everything they leave is searched."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kosent_hub.training.run_record import command
from tests.kosent_hub.conftest import write_dataset
from tests.support import ROOT

API_KEY = "sk-kosentSecretOfTheEndpoint"
BASE, MODEL, DATASET = "alice/tiny-base", "alice/tiny-KoSent", "alice/emotions"
QUICK = ("--embedder", "none", "--max-new-tokens", "2", "--no-safety", "--dataset", "dataset")


class Watch:
    """The command line of every process there is, looked at for a secret until stopped."""

    def __init__(self, secrets: list[str]) -> None:
        self.secrets = [secret.encode() for secret in secrets]
        self.seen: set[bytes] = set()
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue  # it has ended
                if any(secret in line for secret in self.secrets):
                    self.seen.add(line)


class Recorder(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server that is not the Hub and keeps what it is told."""

    told: list[str]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append(f"{self.path}\n{self.headers}\n{body.decode()}")
        answer = {"choices": [{"message": {"content": "네."}}], "usage": {"completion_tokens": 1}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@contextmanager
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was told."""

    class Handler(Recorder):
        told: list[str] = []  # noqa: RUF012

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", Handler.told
        server.shutdown()


def written(*folders: Path) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()


@pytest.fixture
def said() -> dict[str, str]:
    """Everything that commands print, by what they were."""
    return {}


@pytest.mark.slow
def test_no_token_is_left_anywhere(hub, run, tiny_llama, tmp_path, said):
    token = hub.token()
    env = hub.env() | {"OPENAI_API_KEY": API_KEY}
    plain = hub.env(user=None)
    work = tmp_path / "work"
    write_dataset(work / "dataset")
    sample = ROOT / "dataset_builder" / "sample"
    hub.create(BASE, files={path.name: path for path in tiny_llama.iterdir() if path.is_file()})

    def step(*arguments: str, env=env, status: int = 0) -> None:
        done = run([str(argument) for argument in arguments], env=env, cwd=work)
        said[" ".join(map(str, arguments)).replace(token, "TOKEN")] = done.stdout + done.stderr
        assert done.returncode == status, done.stdout + done.stderr

    train = (sys.executable, "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu")
    train += ("--model_name_or_path", BASE, "--dataset_name", "dataset", "--max_steps", "2")
    train += ("--output_dir", "run", "--push_to_hub", "true", "--hub_model_id", MODEL)
    # Here the user types the token, so it is in that command's own line, and in no other place.
    step(*train, f"--hub_token={token}", env=plain)
    assert list((work / "run" / "runs").rglob("*tfevents*")), "TensorBoard's file"
    told = json.loads((work / "run" / "kosent" / "run.json").read_text("utf-8"))["command"]
    assert "--hub_token=..." in told

    model = ("--model", MODEL)
    with Watch([token, API_KEY]) as watch, endpoint() as (address, asked):
        step("kosent-data", "build", sample, "built")
        step("kosent-data", "push", "built", "--repo-id", DATASET)
        step(sys.executable, "-m", "kosent_hub.push", "run", "--repo-id", MODEL)
        step("kosent-eval", *model, *QUICK, "--limit", "2", "--push")
        remote = ("--backend", "endpoint", "--endpoint", address, "--output", "remote")
        step("kosent-eval", *model, *QUICK, "--limit", "2", *remote)
        keyless = {name: value for name, value in env.items() if name != "OPENAI_API_KEY"}
        step("kosent-eval", *model, *QUICK, "--limit", "2", *remote, "--fresh", env=keyless)
        step("kosent-card", "push", "run", "--repo-id", MODEL)
        step("kosent-card", "check", MODEL, status=2)  # the tiny base states no licence
        said["preview"] = preview(run, env, work)
        # What goes wrong says as little.
        hub.expire(token)
        loud = env | {"KOSENT_DEBUG": "1"}
        step("kosent-eval", *model, *QUICK, "--push", env=loud, status=2)
        step("kosent-card", "push", "run", "--repo-id", MODEL, env=loud, status=2)
        port = urlsplit(hub.endpoint).port
        inside = loud | {"HF_ENDPOINT": f"http://alice:{API_KEY}@127.0.0.1:{port}"}
        step("kosent-card", "check", MODEL, env=inside, status=2)
        broken = loud | {"HF_TOKEN": f"{token}\n{API_KEY}"}
        step("kosent-card", "check", f"{MODEL}-2", env=broken, status=2)
        foreign = loud | {"HF_TOKEN": f"{token}비밀"}
        step("kosent-card", "check", f"{MODEL}-3", env=foreign, status=2)
    assert watch.looks > 50
    assert not watch.seen

    assert f"{MODEL}: an adapter of {BASE}, at {hub.head(BASE)}" in "".join(said.values())
    for name, text in said.items():
        assert token not in text and API_KEY not in text, name
    for name, content in written(tmp_path, hub.home):
        assert token.encode() not in content and API_KEY.encode() not in content, name
    for repo, kind in ((MODEL, "model"), (DATASET, "dataset")):
        for name, content in hub.files(repo, kind).items():
            assert token.encode() not in content and API_KEY.encode() not in content, name

    # The Hub's token goes to the Hub, the endpoint's key to the endpoint, neither in an address.
    with_key, without = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    assert with_key and all(f"Bearer {API_KEY}" in request for request in with_key)
    assert without and not any("uthorization" in request for request in without)
    assert not any(token in request for request in asked)
    origins = {entry.origin for entry in hub.journal}
    assert origins == {"hub", "storage"}
    assert any(f"Bearer {token}" == entry.headers.get("authorization") for entry in hub.journal)
    for entry in hub.journal:
        assert token not in f"{entry.path} {dict(entry.query)}", entry.line
        if entry.origin == "storage":
            assert "authorization" not in entry.headers, entry.line


def preview(run, env: dict[str, str], work: Path) -> str:
    """What a preview of the repo's card prints and shows."""
    program = Path(sys.executable).with_name("kosent-card")
    with subprocess.Popen(
        [program, "preview", MODEL],
        env=env,
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        page = urllib.request.urlopen(address).read().decode()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    return f"{address}{page}{out}{err}"


def test_the_recorded_command_has_no_token():
    for typed in (["--hub_token", "hf_secret"], ["--hub_token=hf_secret"], ["--hub-token", "hf_x"]):
        assert command([*typed, "--seed", "1"]).endswith("... --seed 1")
