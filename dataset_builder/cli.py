"""`kosent-data`: AI Hub's files -> a chat dataset -> a Hub repository."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from model_card.publishing.errors import run_command
from model_card.records import BENCH

from .options import VALIDATION_FRACTION, BuildOptions


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-data`."""
    return run_command("kosent-data", lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> None:
    arguments = parser().parse_args(argv)
    arguments.command(arguments)


def parser() -> argparse.ArgumentParser:
    """The command line; nothing heavy is imported to make it."""
    top = argparse.ArgumentParser(prog="kosent-data", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser
    build = add("build", help="make a dataset folder from AI Hub's files")
    build.add_argument("source", type=Path, metavar="SOURCE", help="AI Hub's folder, zip or file")
    build.add_argument("out", type=Path, metavar="OUT", help="the dataset folder to make")
    build.add_argument(
        "--system-prompt",
        default=BuildOptions.system_prompt,
        metavar="TEXT",
        help='the system message; "" for none',
    )
    build.add_argument(
        "--as-is", action="store_true", help="keep repeated dialogues, carve out no validation"
    )
    build.add_argument(
        "--validation-fraction",
        type=float,
        metavar="X",
        help="share of train that becomes validation "
        f"(default: {VALIDATION_FRACTION}, with --as-is 0)",
    )
    build.add_argument(
        "--seed", type=int, default=BuildOptions.seed, help="of that choice (default: %(default)s)"
    )
    build.add_argument(
        "--prefer",
        metavar="WHICH",
        help="of several copies of a split, read this edition (2022, 2021-final, ...), kind of "
        "file (json, xlsx, csv, ...), or the one with this in its path (default: json first)",
    )
    build.add_argument(
        "--strict", action="store_true", help="any dropped row or trimmed turn is an error"
    )
    build.add_argument(
        "--mask-personal-data",
        action="store_true",
        help="put [전화번호] and the like in the place of resident numbers, phone numbers, e-mail "
        "addresses and accounts (kosent-data stats finds them)",
    )
    build.add_argument("--overwrite", action="store_true", help="replace the dataset in OUT")
    build.set_defaults(command=_build)
    stats = add("stats", help="count what a dataset folder holds")
    stats.add_argument("dataset", type=Path, metavar="OUT", help="the dataset folder")
    stats.set_defaults(command=_stats)
    export = add("export", help="write the dialogues as JSONL, or as tasks of lm-eval")
    export.add_argument(
        "dataset",
        metavar="OUT",
        help=f"the dataset folder; with --lm-eval also `{BENCH}`, the benchmark in this package",
    )
    where = export.add_mutually_exclusive_group(required=True)
    where.add_argument("--jsonl", type=Path, metavar="DIR", help="a file for each split")
    where.add_argument(
        "--lm-eval", type=Path, metavar="DIR", help="the test split as a task folder of lm-eval"
    )
    export.add_argument("--overwrite", action="store_true", help="replace files in DIR")
    export.set_defaults(command=_export)
    push = add("push", help="put a dataset folder on the Hub, private")
    push.add_argument(
        "dataset",
        metavar="OUT",
        help=f"the dataset folder, or `{BENCH}`, the benchmark in this package",
    )
    push.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="the dataset repo")
    push.add_argument("--public", action="store_true", help="make or use a public repo")
    push.add_argument(
        "--i-hold-redistribution-rights",
        action="store_true",
        help="needed for --public, but for the benchmark: AI Hub's data must not reach unapproved "
        "third parties",
    )
    push.add_argument("--create-pr", action="store_true", help="propose it as a pull request")
    push.set_defaults(command=_push)
    for command in (build, stats, export, push):
        command.add_argument("--json", action="store_true", help="print one JSON document")
    return top


def _build(arguments: argparse.Namespace) -> None:
    from .builder import build

    values = {field.name: getattr(arguments, field.name) for field in fields(BuildOptions)}
    report = build(BuildOptions(**values), progress=_say)
    if arguments.json:
        _print_json(report)
        return
    for line in _findings(report):
        _say(line)
    _print_splits(report)
    print(
        f"{arguments.out} is ready; next: kosent-data push {arguments.out} --repo-id ORG/NAME, "
        f"or kosent-train --config RECIPE --dataset_name {arguments.out}"
    )


def _stats(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from .counts import count, personal_data
    from .folder import read_splits
    from .near import near_duplicates

    tables = read_splits(arguments.dataset)
    counts, personal = count(tables), personal_data(tables)
    pairs = counts["splits"].get("train", {}).get("turns", 0)
    with tqdm(total=pairs, desc="near-duplicates", unit=" pairs", unit_scale=True) as bar:
        near = near_duplicates(tables, bar.update)
    if arguments.json:
        _print_json({**counts, "near_duplicates": near, "personal_data": personal})
        return
    _print_splits(counts)
    for label, values in counts.items():
        if label != "splits":
            print()
            _print_table(label, counts["splits"], values)
    print()
    kinds = {
        kind: {split: found[kind]["found"] for split, found in personal.items()}
        for kind in next(iter(personal.values()))
    }
    _print_table("personal data", counts["splits"], kinds)
    print()
    for split, found in near.items():
        print(
            f"Near-duplicates: {found['in_train']:,} of the {found['pairs']:,} pairs of user turn "
            f"and reply in {split} are nearly in train"
        )
    if near or any(any(by_split.values()) for by_split in kinds.values()):
        print("The dialogues' ids: kosent-data stats OUT --json")


def _export(arguments: argparse.Namespace) -> None:
    if arguments.lm_eval is not None:
        _export_lm_eval(arguments)
        return
    from .folder import export

    written = export(Path(arguments.dataset), arguments.jsonl, overwrite=arguments.overwrite)
    if arguments.json:
        _print_json({str(path): lines for path, lines in written.items()})
        return
    for path, lines in written.items():
        print(f"{path}: {lines:,} dialogues")


def _export_lm_eval(arguments: argparse.Namespace) -> None:
    from .lm_eval import of_bench, of_folder, write

    on_bench = arguments.dataset == BENCH
    name = "kosent_bench" if on_bench else "kosent"
    samples = of_bench() if on_bench else of_folder(Path(arguments.dataset))
    folder = arguments.lm_eval
    written = write(samples, name, folder, overwrite=arguments.overwrite)
    if arguments.json:
        _print_json({"samples": len(samples), "files": list(map(str, written))})
        return
    print(
        f"{folder}: {len(samples):,} samples; next: lm_eval run --include_path {folder} "
        f"--tasks {name} --apply_chat_template --model hf "
        "--model_args pretrained=ORG/MODEL,add_bos_token=False"
    )


def _push(arguments: argparse.Namespace) -> None:
    if arguments.dataset == BENCH:
        from .bench.publish import push as push_bench

        url = push_bench(arguments.repo_id, public=arguments.public, create_pr=arguments.create_pr)
    else:
        from .publish import push

        url = push(
            arguments.dataset,
            arguments.repo_id,
            public=arguments.public,
            i_hold_redistribution_rights=arguments.i_hold_redistribution_rights,
            create_pr=arguments.create_pr,
            progress=_say,
        )
    if arguments.json:
        _print_json({"url": url})
        return
    print(f'{url}\nLoad it with: load_dataset("{arguments.repo_id}")')


def _findings(report: dict[str, Any]) -> list[str]:
    """The findings of a build, a line each."""
    from .losses import REASONS

    lines = [
        f"Read {one['file']} as {one['split']}: {one['rows']:,} rows, edition {one['edition']}"
        for one in report["read"]
    ]
    lines += [f"Left {one['file']}: {one['why']}" for one in report["left"]]
    if report["empty_marks"]:
        marks = ", ".join(f"{mark} {n:,}" for mark, n in report["empty_marks"].items())
        lines.append(f"Took cells for empty: {marks}")
    if any(report["masked"].values()):
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in report["masked"].items())
        lines.append(f"Masked personal data: {kinds}")
    for what in ("dropped_rows", "trimmed_turns", "removed_dialogues"):
        for reason, found in report[what].items():
            file, at = next(iter(found["lines"].items()))
            verb = what.split("_")[0].capitalize()
            lines.append(f"{verb} {found['count']:,} {REASONS[reason]}, first {file}, line {at[0]}")
    for one in report["labels"]["unknown"]:
        label = f" {one['label']!r}" if one["label"] else ""
        lines.append(
            f"Unknown {one['kind']}{label}, kept: {one['count']:,} times, "
            f"first {one['file']}, line {one['line']}"
        )
    return lines + [note[0].upper() + note[1:] for note in report["notes"]]


def _print_splits(report: dict[str, Any]) -> None:
    print(f"{'split':<12}{'dialogues':>12}{'turns':>12}{'characters':>14}")
    for split, n in report["splits"].items():
        print(f"{split:<12}{n['dialogues']:>12,}{n['turns']:>12,}{n['characters']:>14,}")


def _print_table(label: str, splits: dict[str, Any], values: dict[str, dict[str, int]]) -> None:
    print("".join(f"{split:>12}" for split in splits) + f"  {label}")
    for value, by_split in values.items():
        print("".join(f"{by_split.get(split, 0):>12,}" for split in splits) + f"  {value}")


def _print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2))


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
