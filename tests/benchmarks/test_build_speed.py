"""The full-size corpus from cp949 csv to finished folder, against the way of the notebooks.

Both ways run here, one after the other, each in a process of its own, the best of a few runs.
What is compared is the clock's time for the work, without the imports; the table has the rest too.
Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dataset_builder.corpora import ROWS, large

RUNS = 5
# The notebooks' time goes by rows and ours by bytes. Turns of real chat have 14 characters on
# average; the sample's have 37.
TIMES_FASTER = [(14, 5), (None, 3)]
MOST_MEGABYTES = 600

# What the notebooks did: pandas, a loop over rows, JSONL.
NOTEBOOK = """
import json, sys, time
began = time.perf_counter()
import pandas as pd
imported, used = time.perf_counter(), time.process_time()
source, out = sys.argv[1:]
for split in ("train", "test"):
    table = pd.read_csv(f"{source}/{split}/{split}.CSV", encoding="cp949")
    dialogues = []
    for _, row in table.iterrows():
        messages = [{"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."}]
        for turn in (1, 2, 3):
            user, reply = row[f"사람문장{turn}"], row[f"시스템문장{turn}"]
            if pd.notna(user) and str(user).strip():
                messages.append({"role": "user", "content": str(user).strip()})
            if pd.notna(reply) and str(reply).strip():
                messages.append({"role": "assistant", "content": str(reply).strip()})
        dialogues.append({"messages": messages})
    with open(f"{out}-{split}.jsonl", "w", encoding="utf-8") as file:
        for dialogue in dialogues:
            file.write(json.dumps(dialogue, ensure_ascii=False) + "\\n")
"""
OURS = """
import sys, time
began = time.perf_counter()
from dataset_builder import BuildOptions, build
imported, used = time.perf_counter(), time.process_time()
build(BuildOptions(source=sys.argv[1], out=sys.argv[2], overwrite=True))
"""
MEASURE = """
import json, resource
done = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.process_time() - used, done - imported, done - began, peak]))
"""


@dataclass(frozen=True)
class Cost:
    """Processor seconds and seconds of the work, seconds with imports, peak memory in MB."""

    processor: float
    work: float
    whole: float
    peak: float


def cost(script: str, source: Path, out: Path) -> Cost:
    command = [sys.executable, "-c", script + MEASURE, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def best(costs: list[Cost]) -> Cost:
    return Cost(
        min(c.processor for c in costs),
        min(c.work for c in costs),
        min(c.whole for c in costs),
        max(c.peak for c in costs),
    )


@pytest.mark.parametrize("longest, times_faster", TIMES_FASTER)
def test_build_speed(tmp_path: Path, capsys, longest: int | None, times_faster: float) -> None:
    source = large(tmp_path / "source", ROWS, longest)
    theirs, ours = [], []
    for _ in range(RUNS):
        theirs.append(cost(NOTEBOOK, source, tmp_path / "notebook"))
        ours.append(cost(OURS, source, tmp_path / "dataset"))
    notebook, builder = best(theirs), best(ours)
    size = sum(path.stat().st_size for path in source.rglob("*.CSV")) / 1e6
    ratio = notebook.work / builder.work
    with capsys.disabled():
        print(f"\n\n{sum(ROWS.values()):,} dialogues, {size:.0f} MB of cp949 csv\n")
        print("|  | processor, s | clock, s | with imports, s | peak, MB |")
        print("|---|---:|---:|---:|---:|")
        for name, c in (("pandas, iterrows, JSONL", notebook), ("kosent-data build", builder)):
            print(f"| {name} | {c.processor:.2f} | {c.work:.2f} | {c.whole:.2f} | {c.peak:.0f} |")
        processor, whole = notebook.processor / builder.processor, notebook.whole / builder.whole
        print(f"| ratio | {processor:.1f} | {ratio:.1f} | {whole:.1f} | |\n")
    report = json.loads((tmp_path / "dataset" / "report.json").read_text("utf-8"))
    assert sum(split["dialogues"] for split in report["splits"].values()) == sum(ROWS.values())
    assert ratio >= times_faster
    assert builder.peak <= MOST_MEGABYTES
