"""How often intervals hold the true value, and how often equal models seem to differ: `make bench`.

`python -m tests.benchmarks.test_interval_coverage` measures both and writes the tables of
docs/statistics.md again.
"""

import math
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from statistics import NormalDist

import numpy as np

from kosent_hub import metrics
from kosent_hub.metrics import Measure, ratio
from kosent_hub.metrics.kosent_score.measure import quotient
from kosent_hub.metrics.kosent_score.overlap import bleu_of
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "statistics.md"
# Dialogues of a test set, and how many test sets are drawn of each size.
SIZES = {10: 1000, 15: 1000, 20: 1000, 29: 1000, 30: 1000, 50: 1000, 100: 800, 300: 300, 2000: 80}
# Shares need no bootstrap: so many times as many test sets are drawn of them.
MORE = 5
EQUAL_PAIRS, EQUAL_DIALOGUES = 300, 60
POPULATION = 200_000  # dialogues whose score is taken for the true one

Rows = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def effect(rng: np.random.Generator, dialogues: np.ndarray, shared: float = 0.4) -> np.ndarray:
    """A standard normal number per turn, which turns of one dialogue share in part."""
    common = rng.normal(size=dialogues.max() + 1)[dialogues]
    return math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.normal(size=len(dialogues))


def mean_rows(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))]).astype(np.float64)


def cosines(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    return mean_rows(np.clip(0.6 + 0.15 * effect(rng, dialogues), -1, 1))


def sentence_scores(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    """Mostly 0, few of them large, as sentence BLEU is."""
    level = effect(rng, dialogues)
    return mean_rows(np.clip(np.exp(level - 3.8), 0, 1) * (level > -0.2))


def bleu_counts(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    theirs = np.maximum(3, rng.poisson(16, len(dialogues)))
    ours = np.maximum(4, rng.poisson(15, len(dialogues)))
    grams = [ours - order for order in range(4)]
    better = np.exp(0.5 * effect(rng, dialogues))
    matches, possible = [], ours
    for share, count in zip((0.22, 0.35, 0.4, 0.45), grams, strict=True):
        possible = rng.binomial(np.minimum(possible, count), np.minimum(0.95, share * better))
        matches.append(possible)
    return np.column_stack([ours, theirs, *matches, *grams])


def lengths(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    theirs = np.exp(rng.normal(3.3, 0.5, len(dialogues)))
    ours = theirs**0.3 * np.exp(2.2 + 0.45 * effect(rng, dialogues))
    return np.column_stack([ours, theirs]).round()


def losses(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    """Losses whose logarithm is normal: a few replies are very unlikely."""
    tokens = np.exp(rng.normal(3, 0.5, len(dialogues))).round() + 3
    return np.column_stack([tokens * np.exp(0.8 + 0.45 * effect(rng, dialogues)), tokens])


def flags(share: float) -> Rows:
    """0 or 1 for each reply."""
    limit = NormalDist().inv_cdf(share)
    return lambda rng, dialogues: mean_rows(effect(rng, dialogues) < limit)


def hangul(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    """Letters, of which one reply in ten has foreign ones, few or many."""
    letters = rng.integers(8, 60, len(dialogues))
    foreign = (effect(rng, dialogues) > 1.28) * rng.beta(1, 3, len(dialogues))
    return np.column_stack([letters - rng.binomial(letters, foreign), letters])


def endings(rng: np.random.Generator, dialogues: np.ndarray) -> np.ndarray:
    """Up to four final endings in a reply, most of them polite."""
    count = rng.integers(0, 5, len(dialogues))
    polite = 1 / (1 + np.exp(-2.5 - 1.5 * effect(rng, dialogues)))
    return np.column_stack([rng.binomial(count, polite), count])


def perplexity(totals: np.ndarray) -> np.ndarray:
    return np.exp(ratio(totals))


BOOTSTRAP: dict[str, tuple[Rows, Callable[[np.ndarray], np.ndarray]]] = {
    "cosine": (cosines, ratio),
    "sentence BLEU": (sentence_scores, ratio),
    "corpus BLEU": (bleu_counts, bleu_of),
    "perplexity": (losses, perplexity),
    "length ratio": (lengths, quotient),
}
SHARES: dict[str, tuple[Rows, Callable[[np.ndarray], np.ndarray]]] = {
    "share near 0.02": (flags(0.02), ratio),
    "share near 0.1": (flags(0.1), ratio),
    "share near 0.3": (flags(0.3), ratio),
    "share near 0.98": (flags(0.98), ratio),
    "Hangul ratio": (hangul, ratio),
    "polite ratio": (endings, ratio),
}
KINDS = BOOTSTRAP | SHARES
# Of two models: the interval of their difference.
DIFFERENCES = ("cosine", "perplexity", "share near 0.3")

# How many intervals were shown, and how many of them held the true value.
Counts = tuple[int, int]


def dialogues_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """The dialogue of each turn: each has one to three turns."""
    return np.repeat(np.arange(count), rng.integers(1, 4, count))


def measures(names: list[str], rng: np.random.Generator, dialogues: np.ndarray) -> dict:
    return {
        name: Measure(KINDS[name][0](rng, dialogues), KINDS[name][1], signature="")
        for name in names
    }


def truth() -> dict[str, float]:
    rng = np.random.default_rng(1)
    found = measures(list(KINDS), rng, dialogues_of(rng, POPULATION))
    return {name: measure.value for name, measure in found.items()}


def coverage_at(size: int, true: dict[str, float]) -> dict[str, Counts]:
    found = {name: [0, 0] for name in [*KINDS, *(f"{n}, difference" for n in DIFFERENCES)]}

    def add(name: str, bounds: list[float] | None, value: float) -> None:
        if bounds is not None:
            found[name][0] += 1
            found[name][1] += bounds[0] <= value <= bounds[1]

    for test_set in range(SIZES[size]):
        rng = np.random.default_rng([size, test_set])
        dialogues = dialogues_of(rng, size)
        ours = measures(list(BOOTSTRAP), rng, dialogues)
        for name, bounds in metrics.intervals(ours, dialogues, test_set).items():
            add(name, bounds, true[name])
        pair = [measures(list(DIFFERENCES), rng, dialogues) for _ in range(2)]
        for name, difference in metrics.compare(*pair, dialogues, test_set).items():
            add(f"{name}, difference", difference.ci95, 0)
        for _ in range(MORE):
            dialogues = dialogues_of(rng, size)
            shares = measures(list(SHARES), rng, dialogues)
            for name, bounds in metrics.intervals(shares, dialogues, 0).items():
                add(name, bounds, true[name])
    return {name: (shown, held) for name, (shown, held) in found.items()}


def coverage() -> dict[int, dict[str, Counts]]:
    """For each size and kind of metric, how many intervals were shown and held the true value."""
    true = truth()
    largest_first = sorted(SIZES, key=lambda size: -size * SIZES[size])
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(coverage_at, largest_first, [true] * len(SIZES))
        by_size = dict(zip(largest_first, found, strict=True))
    return {size: by_size[size] for size in SIZES}


def false_findings() -> dict[str, float]:
    """Share of pairs of equal models with some p value under 0.05, raw and adjusted."""
    counts = dict.fromkeys(("as they are", "Holm", "Holm, with a primary metric"), 0)
    for pair in range(EQUAL_PAIRS):
        rng = np.random.default_rng(pair)
        dialogues = dialogues_of(rng, EQUAL_DIALOGUES)
        both = [
            measures(list(KINDS), rng, dialogues)
            | {"another cosine": Measure(cosines(rng, dialogues), ratio, "")}
            for _ in range(2)
        ]
        compared = metrics.compare(*both, dialogues, seed=pair)
        raw = {name: found.p_value for name, found in compared.items() if found.p_value is not None}
        adjusted = (raw, metrics.holm(raw, None), metrics.holm(raw, "cosine"))
        for name, p_values in zip(counts, adjusted, strict=True):
            counts[name] += min(p_values.values()) < 0.05
    return {name: count / EQUAL_PAIRS for name, count in counts.items()}


def noise(shown: int) -> float:
    """Two standard errors of a coverage of 95 % that was measured on so many intervals."""
    return 2 * math.sqrt(0.95 * 0.05 / shown)


def coverage_table(found: dict[int, dict[str, Counts]]) -> str:
    lines = [
        "| dialogues | " + " | ".join(str(size) for size in found) + " |",
        "|---|" + "---|" * len(found),
    ]
    for name in next(iter(found.values())):
        cells = []
        for size, kinds in found.items():
            shown, held = kinds[name]
            drawn = SIZES[size] * (MORE if name in SHARES else 1)
            part = "" if shown == drawn else f" ({100 * shown / drawn:.0f} % shown)"
            cells.append(f"{100 * held / shown:.1f}{part}" if shown else "none")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def false_findings_table(found: dict[str, float]) -> str:
    rows = [f"| {name} | {100 * share:.1f} % |" for name, share in found.items()]
    return "\n".join(["| p values | some p < 0.05 |", "|---|---|", *rows])


def test_intervals_hold_the_true_value_as_often_as_they_say():
    found = coverage()
    print("\n" + coverage_table(found))
    wrong = []
    for size, kinds in found.items():
        for name, (shown, held) in kinds.items():
            low, high = (0.93, 0.97) if size >= 30 else (0.90, 1)
            if shown and not low - noise(shown) <= held / shown <= high + noise(shown):
                wrong.append((size, name, held / shown))
    assert not wrong


def test_equal_models_seldom_seem_to_differ():
    found = false_findings()
    print("\n" + false_findings_table(found))
    assert found["as they are"] > 0.2
    assert found["Holm"] <= 0.05 + noise(EQUAL_PAIRS)
    assert found["Holm, with a primary metric"] <= 0.05 + noise(EQUAL_PAIRS)


def write() -> None:
    tables = {
        "coverage": coverage_table(coverage()),
        "equal models": false_findings_table(false_findings()),
    }
    text = PAGE.read_text("utf-8")
    for name, table in tables.items():
        mark = f"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(mark, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
