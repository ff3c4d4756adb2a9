"""A comparison as files: Markdown, a picture, and an HTML page that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kosent_hub.evaluation.comparing.record import ModelComparison
from kosent_hub.evaluation.comparing.tables import headline, legend, notes, tables, title
from model_card.metrics import EN, metric_label
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.publishing.markdown import escape
from model_card.render.plots import INK, SOFT, TRAIN, ascii_label, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".md", ".png", ".html")
PICTURE = "Each model's scores with their 95 % intervals"


def assert_free(stem: str | Path, overwrite: bool) -> None:
    """Raises KoSentError if `stem` is a folder, or if a file is there that may not be replaced."""
    if Path(stem).is_dir():
        raise KoSentError(stem, "is a folder", f"name a file in it, such as {Path(stem) / 'table'}")
    there = [path for path in _paths(stem) if path.exists()]
    if there and not overwrite:
        raise KoSentError(there[0], "is there already", "replace it with --overwrite")


def write(comparison: ModelComparison, stem: str | Path) -> list[Path]:
    """Write the comparison as Markdown, picture and page; these files' paths."""
    markdown, picture, page = _paths(stem)
    drawn = plot(comparison)
    contents = {
        markdown: _markdown(comparison, picture.name).encode(),
        picture: drawn,
        page: _html(comparison, drawn).encode(),
    }
    for path, data in contents.items():
        atomic_write(path, data)
    return list(contents)


def plot(comparison: ModelComparison) -> bytes:
    """PNG of the headline metrics, a panel each: every model's value with its interval."""
    names = headline(comparison)
    labels = [ascii_label(f"{letter}  {name}") for letter, name in legend(comparison)]

    def draw(axes: Sequence[Axes]) -> None:
        for axis, name in zip(axes, names, strict=True):
            for place, model in enumerate(comparison.models):
                metric = model.metrics[name]
                if metric.value is None:
                    continue
                axis.plot(metric.value, place, "o", color=TRAIN, markersize=4)
                if metric.ci95 is not None:
                    axis.plot(metric.ci95, [place, place], color=TRAIN, linewidth=1.4)
            axis.set_yticks(range(len(labels)), labels, color=INK)
            axis.set_ylim(len(labels) - 0.5, -0.5)
            axis.margins(x=0.1)
            axis.locator_params(axis="x", nbins=4)
            axis.grid(axis="x", color=SOFT, linewidth=0.6)
            axis.set_title(ascii_label(metric_label(name, EN).text), fontsize=9)
        for axis in axes[1:]:
            axis.set_yticklabels([])

    return png(draw, len(names), (2.0 + 1.9 * len(names), 1.0 + 0.3 * len(labels)))


def _paths(stem: str | Path) -> list[Path]:
    return [Path(f"{stem}{ending}") for ending in ENDINGS]


def _markdown(comparison: ModelComparison, picture: str) -> str:
    blocks = [
        f"# {escape(title(comparison))}",
        _lines(f"- **{letter}**: {escape(name)}" for letter, name in legend(comparison)),
        f"![{PICTURE}](<{picture}>)",
    ]
    for table in tables(comparison):
        head = [table.title, *table.head]
        marks = [":--", *["--:"] * len(table.head)]
        cells = [[escape(cell) for cell in row] for row in (head, *table.rows)]
        blocks.append(_lines(f"| {' | '.join(row)} |" for row in (cells[0], marks, *cells[1:])))
    blocks.append(_lines(f"- {escape(note)}" for note in (*notes(comparison), _made(comparison))))
    return "\n\n".join(blocks) + "\n"


def _html(comparison: ModelComparison, picture: bytes) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__name__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja").render(
        title=title(comparison),
        legend=legend(comparison),
        tables=tables(comparison),
        notes=[*notes(comparison), _made(comparison)],
        picture=base64.b64encode(picture).decode(),
        picture_text=PICTURE,
    )


def _made(comparison: ModelComparison) -> str:
    """How the numbers were made, in one line."""
    found = comparison.resampling
    return (
        f"intervals: {found['draws']:,} draws of dialogues; tests: up to {found['trials']:,} "
        f"trials; seed {found['seed']}; samples' SHA-256 {comparison.dataset.sha256}; "
        f"task version {comparison.task_version}; "
        + ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
