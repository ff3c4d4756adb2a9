"""`kosent-card`: render, check, preview and push the card of a run or of a repo on the Hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_card.publishing.errors import KoSentError, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of `kosent-card`."""
    return run_command("kosent-card", lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> None:
    arguments = _parser().parse_args(argv)
    arguments.command(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosent-card",
        description="The model card of a training run, or of a model on the Hub.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    render = commands.add_parser("render", help="write the card from the records")
    _source(render)
    render.add_argument(
        "--output", type=Path, metavar="FILE", help="default: RUN/README.md; a repo's card: stdout"
    )
    _wording(render)
    render.set_defaults(command=_render)

    checker = commands.add_parser(
        "check", help="look for what is wrong with a card; exit status 2 if anything must be fixed"
    )
    _source(checker)
    checker.add_argument(
        "--corpus",
        type=Path,
        metavar="DATASET",
        help="a dataset folder no sentence of which may show",
    )
    checker.add_argument("--json", action="store_true", help="print one JSON document")
    checker.set_defaults(command=_check)

    preview = commands.add_parser(
        "preview", help="show the card in a browser, on this machine only"
    )
    _source(preview)
    preview.add_argument("--port", type=int, default=0, help="default: any free one")
    preview.add_argument(
        "--repo-id", metavar="ORG/NAME", help="compare a run's card with this repo's on the Hub"
    )
    _language(preview)
    preview.set_defaults(command=_preview)

    push = commands.add_parser("push", help="write the card on the Hub, in one commit")
    push.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    push.add_argument("--repo-id", required=True, metavar="ORG/NAME")
    push.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    _wording(push)
    push.set_defaults(command=_push)
    return parser


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RUN|REPO_ID", help="a run folder, or a model on the Hub")


def _language(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--language",
        choices=("ko", "en", "both"),
        help="default: that of the card as it is, else both, Korean first",
    )


def _wording(parser: argparse.ArgumentParser) -> None:
    _language(parser)
    parser.add_argument(
        "--replace-edits",
        action="store_true",
        help="put our text back where a section of ours was changed by hand",
    )


def _render(arguments: argparse.Namespace) -> None:
    from model_card import render_card

    card = render_card(
        arguments.source,
        arguments.output,
        language=arguments.language,
        replace_edits=arguments.replace_edits,
    )
    if card.path is None:
        print(card.text, end="")
        return
    print(f"card: {card.path}")
    if Path(arguments.source).is_dir():
        print(f"next: kosent-card preview {arguments.source}", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> None:
    import dataclasses
    import json

    from model_card import check_card
    from model_card.check.checks import as_text

    checked = check_card(arguments.source, corpus=arguments.corpus)
    if arguments.json:
        document = {
            "source": checked.source,
            "errors": checked.errors,
            "warnings": checked.warnings,
            "findings": [dataclasses.asdict(finding) for finding in checked.findings],
        }
        print(json.dumps(document, ensure_ascii=False, indent=2))
    elif checked.findings:
        print(as_text(checked.findings))
    summary = f"{checked.errors} errors, {checked.warnings} warnings"
    if checked.errors:
        raise KoSentError(checked.source, summary)
    print(f"{checked.source}: {summary}", file=sys.stderr)


def _preview(arguments: argparse.Namespace) -> None:
    from model_card.preview.server import serve
    from model_card.preview.sources import folder_source, repo_source
    from model_card.publishing import session

    session.install()
    folder = Path(arguments.source)
    if folder.is_dir():
        source = folder_source(folder, arguments.language, arguments.repo_id)
    else:
        source = repo_source(arguments.source, arguments.language)

    def announce(address: str) -> None:
        print(address, flush=True)
        print("open this address in a browser; Ctrl-C ends the preview", file=sys.stderr)

    serve(source, arguments.port, announce)


def _push(arguments: argparse.Namespace) -> None:
    from model_card import publish_card

    url = publish_card(
        arguments.run,
        arguments.repo_id,
        create_pr=arguments.create_pr,
        language=arguments.language,
        replace_edits=arguments.replace_edits,
    )
    print(f"card: {url}")
    print(f"next: kosent-card check {arguments.repo_id}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
