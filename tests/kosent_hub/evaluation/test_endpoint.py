"""The endpoint backend against a real server, `transformers serve`, and one that fails first."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from kosent_hub.evaluate import main
from tests.kosent_hub.dialogues import SYSTEM, write_dataset

QUICK = ("--embedder", "none", "--max-new-tokens", "8", "--no-safety", "--json")

# What a server does not tell.
LIKELIHOODS = {"perplexity", "token_accuracy", "bits_per_byte", "retention_ko", "retention_en"}


@pytest.fixture(scope="module")
def served(tiny_llama, tmp_path_factory):
    """Address of `transformers serve` with the tiny model in float32."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/v1"
    command = [
        *(str(Path(sys.executable).with_name("transformers")), "serve", str(tiny_llama)),
        *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"),
    ]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("wb") as file, subprocess.Popen(command, env=env, stderr=file) as server:
        try:
            until = time.monotonic() + 90
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert server.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < until, log.read_text("utf-8")
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "chat", 5)


def evaluate(capsys, *arguments):
    status = main([str(argument) for argument in (*arguments, *QUICK)])
    said = capsys.readouterr()
    return status, said.out, said.err


def completions(folder):
    """The stored replies."""
    lines = (folder / "completions-0.jsonl").read_text("utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    return [line for line in found if "text" in line]


def metrics(printed):
    found = json.loads(printed)["metrics"]
    return {name: found[name] for name in found if name not in LIKELIHOODS}


@pytest.mark.slow
def test_a_server_gives_the_same_scores_as_the_model_here(
    served, tiny_llama, dataset, tmp_path, capsys
):
    asked = ("--model", tiny_llama, "--dataset", dataset)
    remote = ("--backend", "endpoint", "--endpoint", served, "--output", tmp_path / "remote")
    status, there, said = evaluate(capsys, *asked, *remote)
    assert status == 0, said
    here = ("--dtype", "float32", "--output", tmp_path / "here")
    _, printed, _ = evaluate(capsys, *asked, *here)
    assert metrics(there) == metrics(printed)
    found = json.loads(there)
    assert found["speed"]["backend"] == "endpoint"
    assert found["speed"]["tokens_per_second"] > 0
    assert found["model"]["dtype"] == "as served"
    sent = found["protocol"]["generation"]
    assert sent["temperature"] == sent["frequency_penalty"] == 0 and sent["max_new_tokens"] == 8
    assert "top_k" in sent["refused"]  # `transformers serve` has no such field
    assert "generation_config" not in sent["refused"]
    stored = completions(tmp_path / "remote"), completions(tmp_path / "here")
    stops = [{line["id"]: (line["text"], line["stop"]) for line in lines} for lines in stored]
    assert stops[0] == stops[1]
    assert {stop for _, stop in stops[0].values()} <= {"stop", "length"}
    assert LIKELIHOODS.isdisjoint(found["metrics"])


class Moody(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the real server, after going wrong with each twice."""

    behind = ""
    seen: ClassVar[Counter[bytes]] = Counter()
    running = most = 0
    lock = threading.Lock()

    def do_POST(self):
        cls = type(self)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with cls.lock:
            cls.seen[body] += 1
            cls.running += 1
            cls.most = max(cls.most, cls.running)
        try:
            if cls.seen[body] == 1:
                self.send_response(503)
                self.send_header("Retry-After", "0")
                self.end_headers()
            elif cls.seen[body] == 2:
                self.connection.close()
            else:
                url = f"{cls.behind}/chat/completions"
                asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                try:
                    answer = urllib.request.urlopen(asked)
                except urllib.error.HTTPError as refusal:
                    answer = refusal
                with answer:
                    self.send_response(answer.status)
                    self.end_headers()
                    self.wfile.write(answer.read())
        finally:
            with cls.lock:
                cls.running -= 1

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_what_passes_is_tried_again_and_requests_are_bounded(
    served, tiny_llama, dataset, tmp_path, capsys
):
    Moody.behind = served
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        asked = ("--model", tiny_llama, "--dataset", dataset, "--concurrency", "3")
        where = ("--backend", "endpoint", "--endpoint", address, "--output", tmp_path / "out")
        status, _, said = evaluate(capsys, *asked, *where)
        proxy.shutdown()
    assert status == 0, said
    taken = [body for body in Moody.seen if b"top_k" not in body]
    assert len(taken) == 9 + 8  # the samples and the card's prompts
    assert set(Moody.seen.values()) == {3}
    assert Moody.most <= 3


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A server that has no chats."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(404)

    def log_message(self, *_):
        pass


def test_a_server_that_refuses_is_named_in_one_line(dataset, tmp_path, capsys):
    asked = ("--model", "no/such-model", "--dataset", dataset, "--output", tmp_path / "out")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wrong = f"http://127.0.0.1:{server.server_address[1]}/nothing"
        status, _, said = evaluate(capsys, *asked, "--backend", "endpoint", "--endpoint", wrong)
        server.shutdown()
    assert status == 2
    last = said.splitlines()[-1]
    assert f"{wrong}/chat/completions: HTTP 404" in last
    assert "check --endpoint, --model and the token" in last


class Listening(http.server.BaseHTTPRequestHandler):
    """Sends every request on to another address, and keeps what came with it."""

    to = ""
    heard: ClassVar[list[str]] = []

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.heard.append(f"{self.path}\n{self.headers}\n{self.rfile.read(length)}")
        self.send_response(307)
        self.send_header("Location", self.to)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Strict(http.server.BaseHTTPRequestHandler):
    """Answers every chat; refuses a request with a field in `unknown`, as providers do."""

    unknown: ClassVar[tuple[str, ...]] = ()
    status = 400
    nameless = False
    asked: ClassVar[list[dict]] = []
    facts: ClassVar[dict[str, dict]] = {}
    reply: ClassVar[tuple[str, str]] = ("<think>\n음\n</think>\n\n네.", "stop")

    def do_GET(self):
        found = self.facts.get(self.path)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        found = [name for name in self.unknown if name in body]
        named = "nothing" if self.nameless else next(iter(found), "")
        message = {"role": "assistant", "content": self.reply[0]}
        answer = {"choices": [{"message": message, "finish_reason": self.reply[1]}]}
        if found:
            answer = {"error": {"message": f"Unrecognized request argument supplied: {named}"}}
        self.send_response(self.status if found else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def strict(dataset, tmp_path, capsys):
    """`strict(model, unknown, status)` evaluates at such a server: status, output, requests.

    `facts` is what it says of itself, by path, `reply` its reply and why that ended.
    """

    def ask(model, unknown=(), status=400, *more, facts=(), reply=Strict.reply):
        Strict.unknown, Strict.status = unknown, status
        Strict.facts, Strict.reply = dict(facts), reply
        Strict.asked.clear()
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}"
            asked = ("--model", model, "--dataset", dataset, "--output", tmp_path / str(status))
            where = ("--backend", "endpoint", "--endpoint", address, "--concurrency", "4")
            done = evaluate(capsys, *asked, *where, *more)
            server.shutdown()
        return *done, list(Strict.asked)

    return ask


def test_a_server_gets_the_switches_and_the_system_message_that_the_template_needs(
    strict, families
):
    status, _, said, asked = strict(families / "qwen3")
    assert status == 0, said
    assert {json.dumps(body["chat_template_kwargs"]) for body in asked} == {
        '{"enable_thinking": false}'
    }
    assert "chat_template_kwargs" not in said
    assert {body["messages"][0]["role"] for body in asked} == {"system"}
    status, _, said, asked = strict(families / "phi3", status=422)  # drops the role
    assert status == 0, said
    assert not any("chat_template_kwargs" in body for body in asked)
    roles = [[message["role"] for message in body["messages"]] for body in asked]
    assert all(set(found[::2]) == {"user"} and "system" not in found for found in roles)
    assert {body["messages"][0]["content"].split("\n\n")[0] for body in asked} == {SYSTEM}


@pytest.mark.parametrize("refusal", [400, 422])
def test_a_server_that_takes_no_switches_is_asked_without_and_one_line_says_so(
    strict, families, refusal
):
    status, printed, said, asked = strict(
        families / "qwen3", ("chat_template_kwargs",), status=refusal
    )
    assert status == 0, said
    (line,) = [line for line in said.splitlines() if "chat_template_kwargs" in line]
    assert line.endswith(
        "/chat/completions: the server takes none of chat_template_kwargs "
        "(enable_thinking=False), so replies may begin with thoughts"
    )
    without = [body for body in asked if "chat_template_kwargs" not in body]
    assert len(without) == 9 + 8  # the samples and the card's prompts
    assert 1 <= len(asked) - len(without) <= 4  # what was under way when the server said so
    assert json.loads(printed)["counts"]["thoughts_cut"] == 9


OURS = ["top_p", "presence_penalty", "frequency_penalty", "n", "seed"]
OTHERS = ["top_k", "min_p", "min_tokens", "repetition_penalty", "repeat_penalty"]


@pytest.mark.parametrize("unknown", [(), ("top_k", "repetition_penalty", "seed")])
def test_neutral_values_are_sent_and_those_that_are_refused_are_recorded(strict, unknown):
    status, printed, said, asked = strict("any/model", unknown)
    assert status == 0, said
    answered = [body for body in asked if not set(unknown) & body.keys()]
    assert len(answered) == 9 + 8  # the samples and the card's prompts
    assert len(asked) - len(answered) <= 4 * len(unknown)  # those under way at first
    neutral = dict(zip([*OURS, *OTHERS], [1, 0, 0, 1, 0, 1, 0, 0, 1, 1], strict=True))
    kept = {name: value for name, value in neutral.items() if name not in unknown}
    for body in answered:
        assert {name: body[name] for name in neutral if name in body} == kept
        assert body["temperature"] == 0 and body["max_tokens"] == 8
    lines = [line for line in said.splitlines() if "takes none of" in line]
    expected = ", ".join(sorted(unknown))
    assert [line.partition("none of ")[2] for line in lines] == (
        [f"{expected}, so its own values decide"] if unknown else []
    )
    assert json.loads(printed)["protocol"]["generation"].get("refused", []) == sorted(unknown)


def test_a_server_draws_each_reply_with_a_seed_of_its_own(strict):
    drawn = ("--temperature", "0.7", "--seeds", "2")
    status, printed, said, asked = strict("any/model", (), 400, *drawn)
    assert status == 0, said
    assert len(asked) == 2 * (9 + 8)  # the samples and the card's prompts, twice
    for body in asked:
        assert body["temperature"] == 0.7
        assert (body["top_p"], body["min_p"], body["top_k"]) == (1, 0, 2**30)
        config = json.loads(body["generation_config"])
        assert (config["do_sample"], config["top_k"], config["top_p"]) == (True, 0, 1)
    seeds = {body["seed"] for body in asked}
    assert len(seeds) == len(asked) and all(0 <= seed < 2**31 for seed in seeds)
    generation = json.loads(printed)["protocol"]["generation"]
    assert generation["seeds"] == [0, 1] and "seed" not in generation
    _, printed, said, asked = strict("any/model", ("seed",), 422, *drawn)
    assert sum("seed" not in body for body in asked) == 2 * (9 + 8)
    assert json.loads(printed)["protocol"]["generation"]["refused"] == ["seed"]
    assert "the server takes none of seed, so its own values decide" in said


def test_a_server_that_refuses_what_it_does_not_name_gets_only_openais_fields(strict):
    Strict.nameless = True
    try:
        status, printed, said, asked = strict("any/model", OTHERS)
    finally:
        Strict.nameless = False
    assert status == 0, said
    assert sum(not set(OTHERS) & body.keys() for body in asked) == 9 + 8
    assert all(set(OURS) <= body.keys() for body in asked)
    assert json.loads(printed)["protocol"]["generation"]["refused"] == sorted(
        [*OTHERS, "generation_config"]
    )


def test_switches_that_the_server_refuses_are_not_recorded_as_taken(strict, families):
    _, printed, _, _ = strict(families / "qwen3", ("chat_template_kwargs",))
    refused = json.loads(printed)["protocol"]
    assert refused["generation"]["refused"] == ["chat_template_kwargs"]
    assert refused["chat_format"]["switches"] == {}
    _, printed, _, _ = strict(families / "qwen3", status=422)
    assert json.loads(printed)["protocol"]["chat_format"]["switches"] == {"enable_thinking": False}


def test_a_reply_cut_in_a_character_ends_before_it_and_says_so(strict, tmp_path):
    status, printed, said, _ = strict("any/model", reply=("속상하셨겠\ufffd", "length"))
    assert status == 0, said
    stored = completions(tmp_path / "400")
    assert {(line["text"], line["stop"]) for line in stored} == {("속상하셨겠", "length")}
    assert json.loads(printed)["counts"]["truncated"] == 9
    _, printed, _, _ = strict("any/model", status=422, reply=("네.", "content_filter"))
    assert {line["stop"] for line in completions(tmp_path / "422")} == {"content_filter"}
    assert json.loads(printed)["counts"]["truncated"] == 0


@pytest.mark.slow
def test_replies_of_another_model_at_the_same_address_are_made_again(dataset, tmp_path, capsys):
    Strict.unknown, Strict.reply = (), ("네.", "stop")
    entry = {"id": "any/model", "root": "/models/first", "owned_by": "vllm", "created": 1}
    kept = "any/model: 17 of 17 replies are kept from an earlier run; --fresh makes them again"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        asked = ("--model", "any/model", "--dataset", dataset, "--output", tmp_path / "out")
        where = ("--backend", "endpoint", "--endpoint", address)
        for number, changed in enumerate(
            ({}, {"created": 2}, {"root": "/models/second"}, {"version": "0.32"})
        ):
            version = changed.pop("version", "0.31")
            entry |= changed
            Strict.facts = {"/v1/models": {"data": [entry]}, "/version": {"version": version}}
            Strict.asked.clear()
            status, _, said = evaluate(capsys, *asked, *where)
            assert status == 0, said
            assert (len(Strict.asked), kept in said.splitlines()) == (
                (0, True) if number == 1 else (17, False)
            )
        server.shutdown()


def test_a_proxy_gets_nothing_that_goes_to_the_private_network(strict, monkeypatch):
    Listening.heard.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        status, _, said, asked = strict("any/model")
        proxy.shutdown()
    assert status == 0, said
    assert asked and not any("/chat/completions" in request for request in Listening.heard)


def test_a_server_that_refuses_something_else_is_not_asked_again(strict, families):
    status, _, said, asked = strict(families / "qwen3", ("max_tokens",))
    assert status == 2
    assert "HTTP 400" in said.splitlines()[-1] and "max_tokens" in said.splitlines()[-1]
    assert all("chat_template_kwargs" in body for body in asked)


@pytest.mark.parametrize("own", [None, "sk-own"])
def test_a_hub_token_reaches_no_other_host(dataset, tmp_path, capsys, monkeypatch, own):
    secrets = "hf_" + "e" * 30, "hf_" + "f" * 30
    monkeypatch.setenv("HF_TOKEN", secrets[0])
    token_file = Path(os.environ["HF_HOME"]) / "token"
    token_file.write_text(secrets[1])
    if own is not None:
        monkeypatch.setenv("OPENAI_API_KEY", own)
    Listening.heard.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{there.server_address[1]}"
        Listening.to = f"http://localhost:{there.server_address[1]}/elsewhere"
        asked = ("--model", "any/model", "--dataset", dataset, "--output", tmp_path / "out")
        where = ("--backend", "endpoint", "--endpoint", address, "--concurrency", "1")
        status, _, said = evaluate(capsys, *asked, *where)
        monkeypatch.delenv("HF_TOKEN")
        again, _, _ = evaluate(capsys, *asked, *where)  # the token of the file
        there.shutdown()
    token_file.unlink()
    assert (status, again) == (2, 2)
    assert f"{address}/chat/completions: HTTP 307" in said
    assert Listening.heard and not any("/elsewhere" in request for request in Listening.heard)
    for request in Listening.heard:
        assert not any(secret in request for secret in secrets)
        assert ("Authorization" in request) == (own is not None)
        assert own is None or f"Bearer {own}" in request


def test_a_server_that_is_not_there_or_no_address_is_one_line(dataset, tmp_path, capsys):
    asked = ("--model", "any/model", "--dataset", dataset, "--output", tmp_path / "out")
    for address, why in {
        "http://127.0.0.1:9/v1": "not reachable (ConnectError: [Errno 111] Connection refused); "
        "once it runs, the same command goes on where this one ended",
        "127.0.0.1:9/v1": "check --endpoint",
        "http://[nothing/v1": "check --endpoint",
    }.items():
        status, _, said = evaluate(capsys, *asked, "--backend", "endpoint", "--endpoint", address)
        assert status == 2, said
        assert said.splitlines()[-1].startswith(f"kosent-eval: {address}")
        assert said.splitlines()[-1].endswith(why)
