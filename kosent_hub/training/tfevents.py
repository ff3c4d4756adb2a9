"""The curves of a finished run as TensorBoard reads them, for the Hub's tab "Training metrics".

They are written from the run's records, numbers alone. The trainer's own event files (`runs/` of
the run folder) are never pushed: their names hold the host's name, and in them all settings stand
as text, with this machine's paths.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from model_card.run_folder import folder_facts

# One name for every run, so that the next one pushed to a repo replaces it.
PATH = "runs/kosent/events.out.tfevents"
_VERSION = "brain.Event:2"


def event_files(folder: Path) -> dict[str, bytes]:
    """The event file of a finished run by its path in the repo, {} for a run without a log.

    A log has no times: its points stand on TensorBoard's clock as if all steps took equally long.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    facts = folder_facts(folder)
    if facts.run is None or not facts.log_history:
        return {}
    training = facts.run.training
    end = datetime.fromisoformat(facts.run.created).timestamp()
    begin, each = end - training.seconds, training.seconds / max(training.steps, 1)
    file = io.BytesIO()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=begin, file_version=_VERSION).SerializeToString())
    for entry in facts.log_history:
        if not isinstance(step := entry.get("step"), int):
            continue
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(entry)]
        event = Event(wall_time=begin + each * step, step=step, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return {PATH: file.getvalue()}


def _scalars(entry: dict[str, object]) -> Iterator[tuple[str, float]]:
    """The numbers of a log's entry, named as in transformers' own event files; no speeds."""
    for name, value in sorted(entry.items()):
        measured = name.endswith(("_runtime", "_per_second"))
        if name != "step" and isinstance(value, int | float) and not measured:
            split, plain = ("eval", name[5:]) if name.startswith("eval_") else ("train", name)
            yield f"{split}/{plain}", float(value)
