"""The picture of the dataset's card: dialogues by emotion."""

from __future__ import annotations

import io
from typing import Any

from . import taxonomy

COLORS = ("#c44e52", "#4c72b0", "#8172b3", "#937860", "#dd8452", "#55a868")


def emotions(report: dict[str, Any]) -> bytes:
    """A PNG of all splits together: a bar for each emotion code, coloured by major emotion."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    totals = {code: sum(n.values()) for code, n in report["emotion_code"].items()}
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    codes = list(taxonomy.EMOTIONS)
    for (prefix, major), color in zip(taxonomy.MAJORS.items(), COLORS, strict=True):
        own = [code for code in codes if code.startswith(prefix)]
        places = [codes.index(code) for code in own]
        label = f"{prefix}x {taxonomy.ENGLISH[major]}"
        axes.bar(places, [totals.get(code, 0) for code in own], color=color, label=label)
    axes.set_xticks(range(len(codes)), codes, rotation=90, fontsize=7)
    axes.margins(x=0.01)
    axes.set_ylabel("dialogues")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=6, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.14))
    picture = io.BytesIO()
    # No software version in the file: the same counts give the same bytes.
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    return picture.getvalue()
