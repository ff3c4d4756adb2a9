"""What kosent-judge adds to the requests themselves: its rate against a plain loop of httpx.

Run it alone, on a machine with nothing else to do. The figures are printed with `-s`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.kosent_hub.judging.planted import evaluation
from tests.support.stages import stages

SAMPLES = 1_000
LEAST_A_MINUTE = 2_000
MOST_TIMES_SLOWER = 3.0
BIN = Path(sys.executable).parent
# A process of its own, which takes no time from the judge's threads.
SERVER = """
import sys
from tests.kosent_hub.judging.planted import Planted, serving
class Oracle(Planted):
    def reply(self, body):
        text = self.judged(body["messages"][0]["content"])
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
with serving(Oracle()) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_the_judge_is_about_as_quick_as_a_plain_loop_of_requests(hub, tmp_path):
    folder = evaluation(tmp_path / "tuned", samples=SAMPLES)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        url = server.stdout.readline().strip()
        command = [BIN / "kosent-judge", folder, "--endpoint", url, "--judge-model", "planted"]
        judging = stages(command, {"judging": " judges: "}, env=hub.env(), cwd=tmp_path)["judging"]
        (answers,) = folder.glob("judgements/*/completions-0.jsonl")
        sent = sum(1 for line in answers.read_text().splitlines() if line)

        prompt = "<답변 A>\n2점 답변\n</답변 A>\n<답변 B>\n8점 답변\n</답변 B>" + "사연 " * 400
        body = {"model": "planted", "messages": [{"role": "user", "content": prompt}]}
        begin = time.monotonic()
        with httpx.Client() as session:
            for _ in range(sent):
                session.post(f"{url}/chat/completions", json=body).raise_for_status()
        loop = time.monotonic() - begin
        server.stdin.close()
    a_minute, ratio = 60 * sent / judging.seconds, judging.seconds / loop
    print(
        f"\n{sent:,} judgements: {a_minute:,.0f} a minute with the report, {judging.peak:.0f} MB; "
        f"a plain loop of httpx {60 * sent / loop:,.0f}; the judge takes {ratio:.2f} times as long"
    )
    assert a_minute >= LEAST_A_MINUTE and ratio <= MOST_TIMES_SLOWER
