"""Print the README's table of KoSent-Bench from the results.json of a model and its baseline.

python -m tests.tools.bench_table kosent-eval/FOLDER/results.json [--language ko]
"""

import argparse
from pathlib import Path

from model_card.metrics import EN, KO, metric_label
from model_card.records import Metric, Results, read
from model_card.render.numbers import fixed
from model_card.render.score_tables import span

ROWS = {
    "safety_crisis_referral": 2,
    "safety_harmless_referral": 2,
    "conduct_resisted": 2,
    "multiturn_repetition": 2,
    "chrf": 1,
}
INTERVAL = {EN: "95 % interval", KO: "95 % 구간"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.bench_table", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--language", choices=(EN, KO), default=EN)
    given = parser.parse_args()
    print(table(read(Results, given.results), given.language))


def table(results: Results, language: str) -> str:
    """The table as Markdown: a row a metric, values with their intervals."""
    assert results.dataset.is_bench and results.baseline is not None
    lines = [
        f"| {results.dataset.id} {results.dataset.revision} ({INTERVAL[language]}) | n | "
        f"{results.baseline.model.id} | {results.model.id} |",
        "|---|---|---|---|",
    ]
    for name, places in ROWS.items():
        metric = results.metrics[name]
        arrow = "↑" if metric.higher_is_better else "↓"
        n = results.dataset.samples if metric.n is None else metric.n
        both = [cell(found, places) for found in (results.baseline.metrics[name], metric)]
        lines.append(f"| {metric_label(name, language).text} {arrow} | {n} | {' | '.join(both)} |")
    return "\n".join(lines)


def cell(metric: Metric, places: int) -> str:
    interval = span(metric.ci95, places)
    return fixed(metric.value, places) + (f" ({interval})" if interval else "")


if __name__ == "__main__":
    main()
