"""The whole corpus through the test Hub, and what evaluation costs as samples are added.

Run each test alone, on a machine with nothing else to do: what is compared are times and peaks
within one run. The tables are printed with `-s`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.dataset_builder.corpora import ROWS
from tests.kosent_hub.dialogues import write_dataset
from tests.robustness.test_load import to_and_from_the_hub
from tests.support.stages import EVALUATION, Stage, stages, table

# The smallest shows what is spent whatever the number of samples.
STEPS = (16, 1_000, 2_000, 6_000, 18_000)
NAMES = ("generation", "fit", "scoring", "push")
MOST_TIMES_DEARER = 1.3
MOST_TIMES_LARGER = 1.1
BIN = Path(sys.executable).parent


def test_the_whole_corpus_and_18000_samples_to_and_from_the_hub(hub, tmp_path, tiny_llama):
    took = to_and_from_the_hub(hub, tmp_path, tiny_llama, ROWS, 18_000)
    print(f"\n{sum(ROWS.values()):,} dialogues, 18,000 samples, two layers\n{table(took)}")


def test_cost_grows_with_the_number_of_samples_and_memory_does_not(hub, tmp_path, tiny_llama):
    files = {path.name: path for path in tiny_llama.iterdir()}
    hub.create("alice/model", files=files)
    write_dataset(tmp_path / "chat", STEPS[-1] // 2)
    took: dict[int, dict[str, Stage]] = {}
    for count in STEPS:
        command = [
            *(BIN / "kosent-eval", "--model", "alice/model", "--dataset", "chat"),
            *("--limit", str(count), "--max-new-tokens", "4", "--embedder", "none", "--push"),
            *("--output", str(count)),  # where no replies of another row are found
        ]
        took[count] = stages(command, EVALUATION, env=hub.env(), cwd=tmp_path)
    print("\n| samples | " + " | ".join(f"{name}, s | MB" for name in NAMES) + " | ms a sample |")
    print("|---:" * (2 + 2 * len(NAMES)) + "|")
    each = {}
    for count, stage in took.items():
        spent = sum(stage[name].seconds - took[STEPS[0]][name].seconds for name in NAMES)
        each[count] = spent / (count - STEPS[0]) if count > STEPS[0] else 0.0
        cells = [f"{stage[name].seconds:.1f} | {stage[name].peak:.0f}" for name in NAMES]
        print(f"| {count:,} | " + " | ".join(cells) + f" | {1000 * each[count]:.2f} |")
    peaks = {count: max(s.peak for s in stage.values()) for count, stage in took.items()}
    assert each[18_000] <= MOST_TIMES_DEARER * each[1_000]
    assert peaks[18_000] <= MOST_TIMES_LARGER * peaks[2_000]
