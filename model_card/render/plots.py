"""The card's pictures: PNG bytes that depend on the records and on nothing else.

Labels are English and ASCII, since no Korean font can be relied on where a card is made.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_card.metrics import EN, HEADLINE, metric_label
from model_card.records import Preferences, Results
from model_card.render.labels import EMOTIONS_EN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (4.8, 3.0)
DPI = 200
INK, SOFT, TRAIN, VALIDATION = "#24292f", "#d0d7de", "#1f6feb", "#d1580a"

TRAINING = (
    ("loss", "Loss", "Training loss"),
    ("mean_token_accuracy", "Token accuracy", "Mean token accuracy"),
    ("learning_rate", "Learning rate", "Learning rate"),
)


def training_plots(log_history: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """PNG per curve that was logged, by file name: loss, token accuracy, learning rate by step."""
    plots = {}
    for key, label, title in TRAINING:
        train = series(log_history, key)
        if len(train) > 1:
            plots[f"{key}.png"] = _curve(train, series(log_history, f"eval_{key}"), label, title)
    return plots


def series(log_history: Sequence[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """(step, value) of each entry that logged a finite number under `key`, ordered by step."""
    points = [
        (int(entry["step"]), float(entry[key]))
        for entry in log_history
        if _is_number(entry.get(key)) and _is_number(entry.get("step"))
    ]
    return sorted(points, key=lambda point: point[0])


def emotion_plot(results: Results) -> bytes | None:
    """PNG of the scores per major emotion, a panel a metric (two at most); None without any."""
    names = emotion_metrics(results)
    if not names:
        return None

    def draw(axes: Sequence[Axes]) -> None:
        for axis, name in zip(axes, names, strict=True):
            rows = [
                (emotion, value.value)
                for emotion, group in results.by_emotion.items()
                if (value := group.metrics.get(name)) and value.value is not None
            ]
            labels = [EMOTIONS_EN.get(e, f"label {i + 1}") for i, (e, _) in enumerate(rows)]
            bars = axis.barh(labels, [value for _, value in rows], color=TRAIN, height=0.7)
            axis.bar_label(bars, fmt="%.3g", label_type="center", fontsize=8, color="white")
            axis.margins(x=0.1)
            axis.invert_yaxis()
            axis.grid(axis="x", color=SOFT, linewidth=0.6)
            overall = results.metrics.get(name)
            if overall is not None and overall.value is not None:
                axis.axvline(overall.value, color=VALIDATION, linewidth=1.2, linestyle="--")
            axis.set_title(ascii_label(metric_label(name, EN).text), fontsize=9)
            axis.set_xlabel("dashed: all replies", fontsize=8)
        for axis in axes[1:]:
            axis.set_yticklabels([])

    return png(draw, panels=len(names))


def win_rate_plot(shown: Mapping[str, Preferences]) -> bytes | None:
    """PNG of win rates with their intervals, a line per judge and two models; None without any."""
    rows = [
        (f"{name}: {rate.first} / {rate.second}", rate.value, rate.ci95)
        for name, preferences in shown.items()
        for rate in preferences.win_rates
        if rate.value is not None
    ]
    if not rows:
        return None

    def draw(axes: Sequence[Axes]) -> None:
        (axis,) = axes
        for place, (_, value, bounds) in enumerate(rows):
            axis.plot(value, place, "o", color=TRAIN, markersize=4)
            if bounds is not None:
                axis.plot(bounds, [place, place], color=TRAIN, linewidth=1.4)
        axis.axvline(0.5, color=VALIDATION, linewidth=1.2, linestyle="--")
        axis.set_yticks(range(len(rows)), [ascii_label(label) for label, _, _ in rows], color=INK)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.grid(axis="x", color=SOFT, linewidth=0.6)
        axis.set_title("Win rate of the first model", fontsize=9)

    return png(draw, size=(6.4, 1.2 + 0.3 * len(rows)))


def emotion_metrics(results: Results) -> list[str]:
    """The metrics, two at most, that the per-emotion picture shows."""
    common = [
        name
        for name in (*reversed(HEADLINE), *results.metrics)
        if any(
            name in group.metrics and group.metrics[name].value is not None
            for group in results.by_emotion.values()
        )
    ]
    return list(dict.fromkeys(common))[:2]


def _curve(
    train: list[tuple[int, float]], validation: list[tuple[int, float]], label: str, title: str
) -> bytes:
    def draw(axes: Sequence[Axes]) -> None:
        (axis,) = axes
        axis.plot(*zip(*train, strict=True), color=TRAIN, linewidth=1.4, label="train")
        if validation:
            axis.plot(
                *zip(*validation, strict=True),
                color=VALIDATION,
                linewidth=1.2,
                marker="o",
                markersize=3.5,
                label="validation",
            )
            axis.legend(frameon=False, fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("Step", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=True)
        axis.yaxis.offsetText.set_fontsize(8)
        axis.grid(color=SOFT, linewidth=0.6)

    return png(draw)


def png(
    draw: Callable[[Sequence[Axes]], None],
    panels: int = 1,
    size: tuple[float, float] = SIZE_INCHES,
) -> bytes:
    """The bytes of a figure with `panels` axes side by side, drawn by `draw`; `size` in inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The user's own matplotlib settings would change the bytes.
    with matplotlib.rc_context(rc=matplotlib.rcParamsDefault):
        figure = Figure(figsize=size, dpi=DPI, facecolor="white")
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
        axes = [figure.add_subplot(1, panels, index + 1) for index in range(panels)]
        draw(axes)
        for axis in axes:
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8, colors=INK)
        drawn = io.BytesIO()
        # No Software field: it holds matplotlib's version.
        FigureCanvasAgg(figure).print_png(drawn, metadata={"Software": None})
    return drawn.getvalue()


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < float("inf")  # False for NaN too
    )


def ascii_label(text: str) -> str:
    """The text as a label that any font has, 40 characters at most."""
    # A dollar sign starts mathematics in matplotlib.
    return text.encode("ascii", "replace").decode().replace("$", "")[:40]
