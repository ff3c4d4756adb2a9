"""A judgement from its options to its report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kosent_hub.judging import verdicts
from kosent_hub.judging.measuring import measure
from kosent_hub.judging.options import Options
from kosent_hub.judging.reading import Stored, read_stored
from kosent_hub.models.data.outside import assert_may_send_evaluated
from model_card.publishing import session
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_write
from model_card.records import RUN_PATH, Judgements, dumps, judgements_path

Show = Callable[[Judgements], None]


def judge(options: Options, show: Show | None = None) -> Judgements:
    """The report after a model has judged the stored replies; `show` gets it once it is written.

    The judge's verdicts stay in the folder of the evaluation, where `report` finds them. Progress
    goes to stderr. Raises KoSentError for what the user can fix, and huggingface_hub's errors when
    the Hub refuses.
    """
    from kosent_hub.judging.asking import ask

    session.install()
    _assert_free(options.output, options.overwrite)
    _assert_trained(options.run)
    stored = read_stored(options.folders)
    if options.endpoint is not None:
        assert_may_send_evaluated(options.endpoint, stored.dataset, options.i_may_send_this_text)
    ask(options, stored)
    found = _report(stored, options.seed, options.output, options.run, show)
    if options.run is None:
        names = " ".join(str(folder) for folder in options.folders)
        print(f"kept; all judges so far: kosent-judge report {names}", file=sys.stderr)
    return found


def report(
    folders: Sequence[str | Path],
    *,
    seed: int = 0,
    output: str | Path | None = None,
    run: str | Path | None = None,
    overwrite: bool = False,
    show: Show | None = None,
) -> Judgements:
    """What models and people have said so far of the replies in these folders of kosent-eval.

    `output` is a file to write the record to, `run` a run folder whose card is to show it.

    Raises:
        KoSentError: folders that cannot be judged together, judgements of other replies, a file
            that is there already.
    """
    _assert_free(output, overwrite)
    _assert_trained(run)
    return _report(read_stored(folders), seed, output, run, show)


def _report(
    stored: Stored,
    seed: int,
    output: str | Path | None,
    run: str | Path | None,
    show: Show | None,
) -> Judgements:
    found = measure(stored, *verdicts.read_all(stored), seed)
    record = dumps(found).encode()
    if output is not None:
        atomic_write(Path(output), record)
    if run is not None:
        atomic_write(Path(run) / judgements_path(found), record)
    if show is not None:
        show(found)
    if run is not None:
        print(f"next: kosent-card render {run}", file=sys.stderr)
    return found


def _assert_trained(run: str | Path | None) -> None:
    if run is not None and not (Path(run) / RUN_PATH).is_file():
        raise KoSentError(run, f"no {RUN_PATH} there", "name the run folder of a training")


def _assert_free(output: str | Path | None, overwrite: bool) -> None:
    if output is not None and Path(output).exists() and not overwrite:
        raise KoSentError(output, "is there already", "replace it with --overwrite")
