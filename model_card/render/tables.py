"""The card's tables, in either language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model_card.conversations import Conversation
from model_card.publishing.markdown import Markdown, code, escape, html_text
from model_card.render.labels import EN, KO, count
from model_card.render.view import Evaluation, Score, Table

WORDS = {
    "metric": ("지표", "Metric"),
    "base": ("기반 모델", "Base model"),
    "compared": ("비교 모델", "Compared with"),
    "this": ("이 모델", "This model"),
    "difference": ("차이", "Difference"),
    "verdict": ("판정", "Verdict"),
    "better": ("나아짐", "better"),
    "worse": ("나빠짐", "worse"),
    "unclear": ("뚜렷하지 않음", "not clear"),
    "evaluation": ("평가", "Evaluation"),
    "samples": ("표본 수", "Samples"),
    "emotion": ("감정", "Emotion"),
    "item": ("항목", "Item"),
    "value": ("값", "Value"),
    "user": ("사용자", "User"),
}


def word(key: str, language: str) -> str:
    """A table's word in that language."""
    return WORDS[key][{KO: 0, EN: 1}[language]]


def table(header: Sequence[object], rows: Iterable[Sequence[object]], align: str = "") -> Markdown:
    """A Markdown table; `align` has an l or r per column, left where it ends."""
    rules = ["--:" if sign == "r" else ":--" for sign in align.ljust(len(header), "l")]
    lines = [header, [Markdown(rule) for rule in rules[: len(header)]], *rows]
    return Markdown("\n".join("| " + " | ".join(escape(c) for c in line) + " |" for line in lines))


def pairs(rows: Iterable[tuple[object, object]], language: str) -> Markdown:
    """A two-column table of facts."""
    return table([word("item", language), word("value", language)], rows)


def overview_table(evaluations: Sequence[Evaluation], language: str) -> Markdown:
    """A row per evaluation, a column per figure that matters in any of them."""
    labels = {row.name: row.label.text for e in evaluations for row in e.headline}
    lines = []
    for e in evaluations:
        values = {row.name: row.value for row in e.headline}
        cells = [values.get(name, "–") for name in labels]
        lines.append([e.title, count(e.record.dataset.samples), *cells])
    header = [word("evaluation", language), word("samples", language), *labels.values()]
    return table(header, lines, "l" + "r" * (len(header) - 1))


def headline_table(evaluation: Evaluation, base: str, language: str) -> Markdown:
    """The figures that matter, against the baseline if there is one; `base` is its column label."""
    return _scores(evaluation, evaluation.headline, base, language, verdicts=False)


def score_table(evaluation: Evaluation, rows: list[Score], base: str, language: str) -> Markdown:
    """A row per metric with intervals, difference, relative change and verdict."""
    return _scores(evaluation, rows, base, language, verdicts=True)


def _scores(
    evaluation: Evaluation, rows: list[Score], base: str, language: str, verdicts: bool
) -> Markdown:
    compared = evaluation.record.baseline is not None
    header = [word("metric", language)]
    header += [base, word("this", language), word("difference", language)] if compared else []
    header += [word("this", language)] if not compared else []
    verdicts = verdicts and any(row.verdict for row in rows)
    header += [word("verdict", language)] if verdicts else []
    lines = []
    for row in rows:
        name = escape(row.label.text) if row.label.text != row.name else code(row.name)
        cells: list[object] = [Markdown(f"{name} {row.arrow}".strip())]
        if compared:
            cells.append(_two_lines(row.base_value or "–", row.base_interval))
        cells.append(_two_lines(row.value, row.interval, strong=True))
        if compared:
            change = _two_lines(row.difference or "–", row.relative)
            if not verdicts and row.verdict in ("worse", "unclear"):
                # A head without a verdict column still says what is no gain.
                change = Markdown(f"{change}<br><sub>{escape(word(row.verdict, language))}</sub>")
            cells.append(change)
        if verdicts:
            text = word(row.verdict, language) if row.verdict else "–"
            cells.append(_two_lines(text, row.p_value))
        lines.append(cells)
    return table(header, lines, "lrrr" if compared else "lr")


def meaning_list(evaluation: Evaluation, rows: list[Score]) -> Markdown:
    """What each metric says, and the signature it was computed under; a list fits any screen."""
    lines = []
    for row in rows:
        signature = code(evaluation.record.metrics[row.name].signature, in_table=False)
        meaning = f": {escape(row.label.meaning)}" if row.label.meaning else ""
        lines.append(f"- **{escape(row.label.text)}**{meaning}<br>{signature}")
    return Markdown("\n".join(lines))


def reference_table(references: Table, language: str) -> Markdown:
    """The reference points beside the model."""
    header = [word("metric", language), *(c.text for c in references.columns)]
    return table(
        [*header, word("this", language)],
        [[label.text, *cells] for label, cells in references.rows],
        "l" + "r" * (len(references.columns) + 1),
    )


def emotion_table(emotions: Table, language: str) -> Markdown:
    """Scores per major emotion."""
    return table(
        [word("emotion", language), *(column.text for column in emotions.columns)],
        [[label.text, *cells] for label, cells in emotions.rows],
        "l" + "r" * len(emotions.columns),
    )


def conversation_table(conversations: Sequence[Conversation], language: str) -> Markdown:
    """Prompts with the replies under them, as an HTML table that nothing said can break."""
    compared = any(talk.base_reply is not None for talk in conversations)
    columns = [word("base", language)] if compared else []
    columns.append(word("this", language))
    span = f' colspan="{len(columns)}"' if compared else ""
    user = html_text(word("user", language))
    lines = ["<table>"]
    lines.append("<tr>" + "".join(f"<th>{html_text(name)}</th>" for name in columns) + "</tr>")
    for talk in conversations:
        lines.append(f"<tr><td{span}><b>{user}</b> {html_text(talk.prompt)}</td></tr>")
        replies = [talk.base_reply] if compared else []
        replies.append(talk.tuned_reply)
        cells = [html_text(reply) if reply else "–" for reply in replies]
        lines.append("<tr>" + "".join(f"<td>{cell or '–'}</td>" for cell in cells) + "</tr>")
    lines.append("</table>")
    return Markdown("\n".join(lines))


def _two_lines(text: str, below: str | None, *, strong: bool = False) -> Markdown:
    first = escape(text)
    if strong:
        first = f"**{first}**"
    return Markdown(f"{first}<br><sub>{escape(below)}</sub>" if below else first)
