"""Chat datasets: splits with a column `messages`, and the facts that records keep of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.models.chat_format import Messages, UnusableDialogue, plain
from kosent_hub.models.data import dataset_errors
from kosent_hub.models.machine import distributed
from kosent_hub.models.repos import untrusted
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from trl import ScriptArguments

# The share of a split's dialogues that may be left out for what they say.
MAX_DROPPED = 0.05
# Dialogues left out that are listed one by one.
LISTED = 5


def read_splits(
    dataset: str,
    split: str,
    flag: str,
    *,
    optional: Iterable[str] = (),
    config: str | None = None,
    config_flag: str = "--dataset-config",
    revision: str | None = None,
    streaming: bool = False,
    columns: Sequence[str] = ("messages",),
) -> dict[str, Any]:
    """The rows of `split` and of the `optional` splits that the dataset has, by split.

    `dataset` is a dataset folder or a Hub id; `streaming` reads only the rows that are asked for.
    Raises KoSentError for what datasets cannot read, lacks one of the `columns`, or has no `split`;
    `flag` is the one that names another split, `config_flag` another configuration. Nothing is
    downloaded before `split` is known to be there; then datasets downloads all splits, unless
    `streaming`.
    """
    from datasets import load_dataset_builder

    # A folder that reads like a Hub id must not be taken for one.
    where = str(Path(dataset).resolve()) if Path(dataset).is_dir() else dataset
    with dataset_errors.explained(dataset, config_flag):
        builder = load_dataset_builder(where, config, revision=revision)
        # Files by split; one that datasets finds in its cache, offline, has the splits themselves.
        names = [str(name) for name in builder.config.data_files or builder.info.splits or ()]
        if split not in names:
            raise KoSentError(
                dataset, f"no split {split!r}", f"it has {', '.join(names)}: name one with {flag}"
            )
        wanted = [name for name in (split, *optional) if name in names]
        if streaming:
            streams = builder.as_streaming_dataset()
            rows = {name: streams[name] for name in wanted}
        else:
            builder.download_and_prepare()
            rows = {name: builder.as_dataset(name) for name in wanted}
            for found in rows.values():
                found.data.validate(full=True)  # datasets does not ask whether text is UTF-8
        # A card may not name the columns of what is streamed; the first row does.
        there = {name: r.column_names or list(next(iter(r), {})) for name, r in rows.items()}
    for names in there.values():
        if missing := [name for name in columns if name not in names]:
            raise KoSentError(
                dataset,
                f"no column `{missing[0]}` (found {', '.join(names)})",
                "build the dataset with kosent-data build"
                if missing == ["messages"]
                else "write the pairs with kosent-judge export --preferences",
            )
    return rows


def load(
    script: ScriptArguments,
    revision: str | None,
    validation: bool,
    config_flag: str = "--dataset_config",
) -> dict[str, Sequence[Messages]]:
    """The dialogues of the training split and, if `validation` and there, of that split.

    They are read when they are asked for.
    """
    found = training_rows(script, revision, validation, config_flag)
    return {split: rows["messages"] for split, rows in found.items()}


def training_rows(
    script: ScriptArguments,
    revision: str | None,
    validation: bool,
    config_flag: str,
    columns: Sequence[str] = ("messages",),
) -> dict[str, Any]:
    """The rows of `train` and, if `validation` and there, of that split, by these names.

    Never of the test split: after a look at it during training, its scores mean nothing.
    """
    train = script.dataset_train_split
    rows = read_splits(
        str(script.dataset_name),
        train,
        "--dataset_train_split",
        optional=["validation"] if validation else [],
        config=script.dataset_config,
        config_flag=config_flag,
        revision=revision,
        columns=columns,
    )
    found = {"train": rows[train]}
    if validation and "validation" in rows:
        found["validation"] = rows["validation"]
    return found


def system_prompt(dialogues: Sequence[Messages]) -> str | None:
    """The system message that all dialogues begin with, None if they differ."""
    found: set[str | None] = set()
    for at in range(0, len(dialogues), 1000):
        for messages in dialogues[at : at + 1000]:
            with suppress(UnusableDialogue):  # one that is left out
                first = plain(messages[:1])[0]
                found.add(first["content"] if first["role"] == "system" else None)
        if len(found) > 1:
            return None
    return found.pop() if found else None


def check_share(max_dropped: float) -> None:
    """Raise KoSentError for what cannot be `max_dropped`."""
    if not 0 <= max_dropped <= 1:
        raise KoSentError(
            f"--max-dropped {max_dropped:g}", "is a share, from 0 to 1", "for 5 % write 0.05"
        )


def report_dropped(
    split: str, dropped: Sequence[tuple[int, str]], rows: int, max_dropped: float
) -> None:
    """Print how many of a split's dialogues are left out, and the first ones with their rows.

    `dropped` are rows and reasons. Raises KoSentError if their share is more than `max_dropped`.
    """
    if not dropped:
        return
    if distributed.rank() == 0:
        for row, why in dropped[:LISTED]:
            print(f"{split}, row {row}: {why}; left out", file=sys.stderr)
        if len(dropped) > LISTED:
            print(f"{split}: {len(dropped) - LISTED} more like these", file=sys.stderr)
    share = len(dropped) / rows
    if share > max_dropped:
        row, why = dropped[0]
        raise KoSentError(
            f"{split}, row {row}",
            f"{why}; so {len(dropped):,} of {rows:,} dialogues ({share:.1%}) would be left out, "
            f"more than --max-dropped {max_dropped:g}",
            "build the data again without what is listed, or raise that share",
        )
    if distributed.rank() == 0:
        print(f"{split}: {len(dropped):,} of {rows:,} dialogues left out", file=sys.stderr)


def corpus(dataset: str, revision: str | None) -> str | None:
    """The corpus named in the dataset's report.json, None where there is no such report."""
    path: Path | str = Path(dataset) / "report.json"
    if not Path(dataset).is_dir():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            path = hf_hub_download(dataset, "report.json", repo_type="dataset", revision=revision)
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return None
    elif not Path(path).is_file():
        return None
    found = untrusted.read_settings(Path(path), f"{dataset}/report.json").get("corpus")
    return found if isinstance(found, str) else None
