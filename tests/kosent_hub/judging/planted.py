"""Judges whose faults are known, behind a real server, and evaluations for them to judge."""

import http.server
import json
import random
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

from kosent_hub.judging.rubric import check_set
from model_card.records import Baseline, EvaluatedModel
from tests.kosent_hub.evaluation.evaluations import results, write

BETTER = {check.better for check in check_set() if check.better != check.worse}
WORSE = {check.worse for check in check_set() if check.better != check.worse}
RATED = ("emotional_reaction", "interpretation", "exploration")
WRONG = ("moralising", "unasked_advice", "sycophancy", "formulaic", "invented_facts", "danger")


def quality(text):
    """What the oracle sees in a reply: right and wrong of the check set, else a planted number."""
    if text in BETTER or text in WORSE:
        return 9 if text in BETTER else 0
    found = re.search(r"(\d)점", text)
    return int(found[1]) if found else 1


def chosen(a, b, key):
    return "tie" if key(a) == key(b) else "A" if key(a) > key(b) else "B"


def by_chance(a, b):
    """The same for the same two replies in this order, as from a greedy model."""
    return random.Random(f"{a}|{b}").choice("AB")


CHOOSE = {
    "first": lambda a, b: "A",
    "longer": lambda a, b: chosen(a, b, len),
    "random": by_chance,
    "oracle": lambda a, b: chosen(a, b, quality),
    "contrary": lambda a, b: chosen(a, b, lambda text: -quality(text)),
}


class Planted:
    """A server of OpenAI's protocol whose judge is `kind`; `asked` are the requests."""

    def __init__(self, kind="oracle", answer=None, busy=0, delay=0.0, refuses=()):
        self.kind, self.answer, self.busy, self.delay = kind, answer, busy, delay
        self.refuses, self.asked, self.statuses = refuses, [], Counter()
        self.lock = threading.Lock()

    def reply(self, body):
        """Status and content of the answer to one request."""
        with self.lock:
            self.asked.append(body)
            if self.busy > 0:
                self.busy -= 1
                return 429, {"error": "busy"}
        if found := [name for name in self.refuses if name in body]:
            return 400, {"error": {"message": f"unknown argument {found[0]}"}}
        time.sleep(self.delay)
        first = body["messages"][0]["content"]
        text = self.judged(first)
        if self.answer is not None:
            text = self.answer(text, body)
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    def judged(self, prompt):
        """The JSON that this judge would write."""
        pair = re.findall(r"<(?:답변|reply) ([AB])>\n(.*?)\n</", prompt, re.S)
        if pair:
            (_, a), (_, b) = pair
            return json.dumps({"winner": CHOOSE[self.kind](a, b)})
        (reply,) = re.findall(r"<(?:답변|reply)>\n(.*?)\n</", prompt, re.S)
        points = dict.fromkeys(RATED, min(2, quality(reply) // 4))
        return json.dumps(points | {name: quality(reply) < 3 for name in WRONG})


@contextmanager
def serving(planted):
    """The address of a server with this judge."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would each wait for the other's receipt

        def do_GET(self):
            self.send(200, {"data": [{"id": "planted judge"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(*planted.reply(body))

        def send(self, status, content):
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def reply(points, number, words=3):
    return " ".join([f"{points}점 답변 {number}번"] + ["마음이 쓰이네요."] * words)


def evaluation(folder, better=0.7, samples=40, longer=0.5, source=None, split="test", **models):
    """A folder of kosent-eval whose tuned model has the better reply in that share of the samples;
    of the better replies that share is the longer one. One pair in ten is of equal replies."""
    tuned, base = [], []
    for i in range(samples):
        wins, long = (i * 7) % 10 < 10 * better, (i * 3) % 10 < 10 * longer
        good, bad = reply(8, i, 6 if long else 1), reply(2, i, 1 if long else 6)
        tuned.append(good if wins else bad)
        base.append(bad if wins else good)
        if i % 10 == 5:
            tuned[-1] = base[-1] = reply(5, i)
    record = results(models.get("tuned", "org/tuned"), samples)
    name = models.get("base", "org/base")
    record = replace(
        record,
        baseline=Baseline(EvaluatedModel(name), record.metrics, {}),
        dataset=replace(record.dataset, local=True, source=source, split=split),
    )
    messages = [
        [
            {"role": "system", "content": "비밀 지시"},
            {"role": "user", "content": f"비밀 이야기 {i}"},
        ]
        for i in range(samples)
    ]
    return write(folder, record, tuned, messages=messages, baseline=base)
