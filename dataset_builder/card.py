"""report.json -> the dataset's card: metadata, sections among a person's text, and the picture."""

from __future__ import annotations

import io
import re
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import pyarrow as pa

from model_card.publishing import front_matter, markdown, sections

from . import provenance, taxonomy
from .chat import SCHEMA
from .losses import REASONS

NAME = "KoSent 감성 대화"
PLOT = "emotions.png"
COLORS = ("#c44e52", "#4c72b0", "#8172b3", "#937860", "#dd8452", "#55a868")
SIZES = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M")]


def render(
    report: dict[str, Any],
    *,
    existing: str | None = None,
    repo_id: str | None = None,
    plot: str | None = None,
    gated: bool = False,
) -> str:
    """The README: our sections and metadata renewed, everything else of `existing` as it was.

    Of a gated repo, the metadata says what it asks people before they may see the files.
    """
    ours = body(report, repo_id=repo_id, plot=plot)
    if existing is None:
        existing = f"# {markdown.escape(report['pretty_name'] or NAME)}\n"
    front, text = front_matter.split(existing)
    metadata = dataset_metadata(report) | (gate(report) if gated else {})
    return front_matter.merge(front + sections.merge(text, ours), metadata)


def body(
    report: dict[str, Any], *, repo_id: str | None = None, plot: str | None = None
) -> dict[str, str]:
    """Section name -> text."""
    losses = ("dropped_rows", "trimmed_turns", "removed_dialogues")
    counted = {reason: n["count"] for loss in losses for reason, n in report[loss].items()}
    text = _template().render(
        **report,
        **{
            name: sum(n["count"] for n in report[loss].values())
            for name, loss in zip(("dropped", "trimmed", "removed"), losses, strict=True)
        },
        reasons=", ".join(f"{n:,} {REASONS[reason]}" for reason, n in counted.items()),
        system_prompt=report["options"]["system_prompt"],
        emotions=taxonomy.EMOTIONS,
        english=taxonomy.ENGLISH,
        aihub_page=provenance.AIHUB_PAGE,
        repo_id=repo_id,
        plot=plot,
    )
    parts = re.split(r"^%% ([a-z]+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def dataset_metadata(report: dict[str, Any]) -> dict[str, Any]:
    """The front matter, with features and sizes in a form that every version of datasets reads."""
    total = sum(n["dialogues"] for n in report["splits"].values())
    outputs = {one["file"]: one["bytes"] for one in report["outputs"]}
    sizes = report["bytes_in_memory"]
    download = sum(size for file, size in outputs.items() if file.startswith("data/"))
    return {
        "language": ["ko"],
        **_license(report),
        "pretty_name": report["pretty_name"] or NAME,
        "task_categories": ["text-generation"],
        "size_categories": [next((name for most, name in SIZES if total < most), "n>1M")],
        "tags": ["empathetic-dialogue", "emotion", "kosent"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": f"data/{split}-*"} for split in report["splits"]
                ],
            }
        ],
        "dataset_info": {
            "features": features(SCHEMA),
            "splits": [
                {"name": split, "num_bytes": sizes[split], "num_examples": n["dialogues"]}
                for split, n in report["splits"].items()
            ],
            "download_size": download,
            "dataset_size": sum(sizes.values()),
        },
    }


def gate(report: dict[str, Any]) -> dict[str, Any]:
    """What a gated repo asks; {} for data that is not AI Hub's, whose owner knows what to ask."""
    if report["corpus"] != provenance.AIHUB:
        return {}
    return {
        "extra_gated_heading": "AI 허브 승인 확인 / AI Hub approval",
        "extra_gated_prompt": (
            f"AI 허브 감성 대화 말뭉치({provenance.AIHUB_PAGE})의 이용 승인을 받은 대한민국 국민만 "
            "이용할 수 있습니다. 제3자에게 열람·제공할 수 없고, 국외 서버에서의 저장·학습에는 별도 "
            "합의가 필요합니다.\n\n"
            "Only for people whom AI Hub has approved for this corpus. It may not be passed on; to "
            "store it or train with it on servers abroad needs an agreement with AI Hub."
        ),
        "extra_gated_fields": {
            "AI 허브 승인일 / Date of AI Hub's approval": "date_picker",
            "AI 허브의 승인을 받았습니다 / AI Hub has approved my application": "checkbox",
            "제3자에게 제공하지 않겠습니다 / I will not pass the data on": "checkbox",
        },
    }


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns as dataset_info writes them, with `list:` for a list, which all versions read."""
    return [
        {"name": field.name, "list": _item(field.type.value_type)}
        if pa.types.is_list(field.type)
        else {"name": field.name, "dtype": str(field.type)}
        for field in schema
    ]


def _item(kind: pa.DataType) -> list[dict[str, Any]] | str:
    return features(kind) if pa.types.is_struct(kind) else str(kind)


def emotions_plot(report: dict[str, Any]) -> bytes:
    """A PNG: dialogues of all splits together by emotion code, coloured by major emotion."""
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


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"escape": markdown.escape, "code": markdown.code}
    source = resources.files("dataset_builder").joinpath("dataset_card.md.jinja")
    return environment.from_string(source.read_text(encoding="utf-8"))


def _license(report: dict[str, Any]) -> dict[str, str]:
    if report["corpus"] == provenance.AIHUB:
        link = provenance.AIHUB_PAGE
        return {"license": "other", "license_name": "aihub-terms", "license_link": link}
    own = {"license_name": "own-license"} if report["license"] == "other" else {}
    return {"license": report["license"], **own}
