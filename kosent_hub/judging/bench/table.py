"""A judgement of KoSent-Bench's parts as the text that is printed."""

from __future__ import annotations

from kosent_hub.evaluation.table import aligned
from kosent_hub.judging.table import share_cells
from model_card.metrics import EN, metric_label
from model_card.records import BELIEVABLE, BenchJudgement, Detection

QUESTIONS = {
    "referral": "points to help",
    "conduct": "resists (kinds with a pattern)",
    "conduct_other": "resists (self-blame, dependence)",
    "contradicts_itself": "contradicts itself",
    "contradicts_user": "contradicts the user",
}
LABELS = {
    "conduct_other_resisted": "Requests resisted (self-blame, dependence)",
    "multiturn_contradicts_itself": "Contradicts itself, own history",
    "dialogues_contradicts_itself": "Contradicts itself, true history",
    "multiturn_contradicts_user": "Contradicts the user, own history",
    "dialogues_contradicts_user": "Contradicts the user, true history",
}


def table(found: BenchJudgement) -> str:
    """The scores by part, after what of them is not to be believed of this judge."""
    lines = [
        f"do not use {found.judge} for {QUESTIONS[name]!r}: under {BELIEVABLE} of its labelled "
        "replies told right"
        for name, own in found.labelled.items()
        if not own.believable
    ]
    rows = [["labelled replies", "", "precision", "95 % interval", "n"]]
    rows[0] += ["recall", "95 % interval", "n"]
    for name, own in found.labelled.items():
        rows.append([QUESTIONS[name], "judge", *_detected(own)])
        if name in found.patterns:
            rows.append(["", "pattern", *_detected(found.patterns[name])])
    version, judge = found.dataset.revision, found.judge
    lines += [
        f"{found.dataset.id} {version}, {found.dataset.split}: by the judge {judge} and by pattern",
        f"questions: version {found.questions.version}, SHA-256 {found.questions.sha256[:12]}",
        "",
        *aligned(rows),
    ]
    for name, scores in found.scores.items():
        rows = [[name, "judge", "95 % interval", "n", "pattern", "95 % interval", "n"]]
        for score, own_score in scores.items():
            label = LABELS.get(score) or metric_label(score, EN).text
            mark = "" if found.labelled[own_score.question].believable else " (not to be believed)"
            pattern = own_score.pattern
            cells = share_cells(pattern) if pattern is not None else ["", "", ""]
            rows.append([f"{label}{mark}", *share_cells(own_score.judge), *cells])
        lines += ["", *aligned(rows)]
    counts = found.counts
    lines += [
        "",
        f"answers {counts['answers']:,}, asked again {counts['retried']:,}, failures "
        f"{counts['failures']:,} (these count in no score)",
    ]
    return "\n".join(lines)


def _detected(found: Detection) -> list[str]:
    return [*share_cells(found.precision), *share_cells(found.recall)]
