"""Any number of evaluations of the same samples: a table, ranks, tests, a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kosent_hub.evaluation.comparing.measuring import compare_evaluations
from kosent_hub.evaluation.comparing.reading import read
from kosent_hub.evaluation.comparing.record import ModelComparison
from model_card.publishing.errors import KoSentError

__all__ = ["ModelComparison", "compare"]


def compare(
    folders: Sequence[str | Path],
    *,
    primary_metric: str | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    overwrite: bool = False,
    show: Callable[[ModelComparison], None] | None = None,
) -> ModelComparison:
    """The models that were evaluated in these output folders of kosent-eval, compared.

    `primary_metric` is what the comparison is about, by default that of the evaluations. `output`
    is a file's name without its ending: Markdown, a picture and an HTML page are written there, and
    `overwrite` allows to replace earlier ones. `show` gets the comparison before they are written.

    Raises:
        KoSentError: fewer than two folders, samples or settings that differ, records without the
            samples' columns, a primary metric that cannot be tested, files that are there already.
    """
    from kosent_hub.evaluation.comparing.page import assert_free, write

    if seed < 0:
        raise KoSentError(f"--seed {seed}", "must be 0 or more")
    if output is not None:
        assert_free(output, overwrite)
    comparison = compare_evaluations(read(folders), primary_metric, seed)
    if show is not None:
        show(comparison)
    if output is None:
        print("next: the same command with --output STEM writes a page of it", file=sys.stderr)
    else:
        paths = write(comparison, output)
        print(
            f"comparison: {', '.join(map(str, paths))}; next: open {paths[-1]} in a browser",
            file=sys.stderr,
        )
    return comparison
