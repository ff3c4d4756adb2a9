"""The records that training and evaluation write: run.json and results.json.

They are the only facts a card is made of. Their readers refuse a newer schema and unknown
fields, so that a card never shows half of a record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import decode_text

SCHEMA_VERSION = 2
# Older versions that are read too; `_upgrade` says what they lack.
OLDER_VERSIONS = (1,)
RUN_PATH = "kosent/run.json"
LOG_HISTORY_PATH = "kosent/log_history.jsonl"
PLOTS_FOLDER = "kosent/plots"
EVAL_FOLDER = "kosent/eval"
# The dataset's name, and its id in records, that stands for KoSent-Bench, which is in the package.
BENCH = "kosent-bench"
JUDGEMENTS_FOLDER = "kosent/judgements"
BENCH_JUDGEMENTS_FOLDER = "kosent/bench_judgements"
# The share of the check set that a judge must get right for its win rates to be shown; of labelled
# replies, the precision and recall it must have for its scores on KoSent-Bench.
BELIEVABLE = 0.8


@dataclass(frozen=True)
class Repo:
    """A model or dataset: its Hub id and commit, or a local folder's name and no revision."""

    id: str
    revision: str | None = None
    local: bool = False


@dataclass(frozen=True)
class Dataset:
    """The training data: `rows` per split as the trainer saw them, after its own split-off.

    `source` is the corpus behind it: "aihub-86", "kosent-sample", or None when unknown. `density`
    are tokens of the base's tokenizer per character and per UTF-8 byte; {} in older records.
    """

    id: str
    revision: str | None = None
    local: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    source: str | None = None
    density: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """Figures of the training loop: `tokens` without padding, `learned_tokens` those with loss.

    `kept_step` is the step whose weights are kept, that of the lowest validation loss, where it is
    not the last.
    """

    steps: int
    epochs: float
    samples: int
    tokens: int
    learned_tokens: int
    effective_batch_size: int
    max_length: int
    seconds: float
    seed: int
    final: dict[str, float | None] = field(default_factory=dict)
    kept_step: int | None = None


@dataclass(frozen=True)
class Hardware:
    """The hardware of a run. Memory in GiB; energy in kWh, None unless it was measured."""

    device: str
    processes: int = 1
    peak_memory_gib: float | None = None
    energy_kwh: float | None = None


@dataclass(frozen=True)
class Run:
    """`kosent/run.json`: one training run.

    `system_prompt` is the training data's; `template_kwargs` what every rendering of the chat
    template was given, such as a pinned date. `chat_format` are the facts of the text that was
    trained on: switches, system message, end of turn; {} in older records. `adapter` is the one
    that the training went on from, and its reference (DPO); None for a new one.
    """

    model_name: str
    base_model: Repo
    dataset: Dataset
    recipe: str
    config: dict[str, Any]
    template_sha256: str
    parameters: dict[str, int]
    training: Training
    hardware: Hardware
    versions: dict[str, str]
    created: str
    command: str
    quantization: str | None = None
    system_prompt: str | None = None
    template_kwargs: dict[str, Any] = field(default_factory=dict)
    chat_format: dict[str, Any] = field(default_factory=dict)
    adapter: Repo | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class EvaluatedModel:
    """The model whose replies were scored.

    `parameters` are those of base and adapter together. `weights_sha256` has the files of local
    folders, which have no commit. `tokenizer` says which it is: class, vocabulary, SHA-256, special
    tokens; {} where only a server has it.
    """

    id: str
    revision: str | None = None
    base_model: str | None = None
    base_revision: str | None = None
    adapter: bool = False
    dtype: str = "float32"
    local: bool = False
    parameters: int | None = None
    weights_sha256: dict[str, str] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedDataset:
    """The split the samples came from: `samples` assistant turns of `dialogues` dialogues; others,
    `dropped`, were left out for what they say.

    `all_samples` are those of the whole split, before any limit. `sha256` is that of the samples'
    messages, so that equal data is known whatever its name. `source` is the corpus behind a local
    folder, as `Dataset` has it; None where it is unknown, and for a repo of the Hub. Of
    KoSent-Bench, `revision` is the version, `sha256` stands for its files and the samples taken of
    them, and dialogues and samples are those of its dialogues alone.
    """

    id: str
    split: str
    dialogues: int
    samples: int
    revision: str | None = None
    local: bool = False
    dropped: int = 0
    all_samples: int | None = None
    sha256: str | None = None
    source: str | None = None

    @property
    def is_bench(self) -> bool:
        """Whether it is KoSent-Bench, and not a folder of that name."""
        return self.id == BENCH and not self.local


@dataclass(frozen=True)
class Protocol:
    """How replies were made: the true history, one template, one set of generation settings.

    `template_example` is that template around a sentence of ours, never around corpus text;
    `template` the whole template. `chat_format` are the facts of the model's text, as `Run` has
    them. `engine` is what computed the replies: its device, batches, paths, or the server's facts.
    `few_shot` is how many training dialogues stood before each sample's own.
    """

    system_prompt: str | None
    template_sha256: str
    generation: dict[str, Any]
    seed: int
    history: str = "gold"
    normalization: str = "NFC"
    template_example: str | None = None
    template: str | None = None
    chat_format: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    few_shot: int = 0


@dataclass(frozen=True)
class Metric:
    """One score with its unit; `signature` says exactly how it was computed.

    `value` is None where nothing was measured. `n` is how many cases it stands on: those of a
    share, else the samples. Of replies that were drawn with several seeds `value` is the mean over
    these, `range` the least and the largest of them; `ci95` and `n` are those of all the replies
    together. `higher_is_better` is None where neither is, as for a length ratio.
    `ci95` is None where no interval would hold what it says, as with few dialogues.
    """

    value: float | None
    higher_is_better: bool | None
    unit: str
    signature: str
    ci95: list[float] | None = None
    n: int | None = None
    range: list[float] | None = None


@dataclass(frozen=True)
class Value:
    """A score of a part of the samples, or of a reference point; `range` is that over its draws."""

    value: float | None
    ci95: list[float] | None = None
    range: list[float] | None = None


@dataclass(frozen=True)
class Group:
    """The samples of one emotion with their scores, or a reference point's; `draws` is how often a
    reference point was drawn at random, and its values are then means."""

    samples: int | None
    metrics: dict[str, Value]
    draws: int = 1


@dataclass(frozen=True)
class Comparison:
    """Model minus baseline, and that relative to the baseline (0.25 = +25 %).

    `ci95` is the interval of the difference, `p_value` the test of this metric alone, from `trials`
    trials, and `p_adjusted` that of all metrics together (Holm), by which verdicts go. In records
    of schema 1 it is None, and verdicts go by `p_value`.
    """

    difference: float | None
    relative: float | None = None
    p_value: float | None = None
    ci95: list[float] | None = None
    p_adjusted: float | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Speed:
    """Generation only, for samples and the card's prompts: `seconds` of wall time, samples and new
    tokens per second."""

    backend: str
    seconds: float
    samples_per_second: float
    tokens_per_second: float


@dataclass(frozen=True)
class Baseline:
    """The model compared against, on the same samples.

    `protocol` is None in records of schema 1, whose baselines had the model's own.
    """

    model: EvaluatedModel
    metrics: dict[str, Metric]
    comparison: dict[str, Comparison]
    speed: Speed | None = None
    counts: dict[str, int] = field(default_factory=dict)
    protocol: Protocol | None = None


@dataclass(frozen=True)
class Results:
    """`results.json`: one evaluation of one model on one split.

    `settings` are the options that differ from their defaults: they distinguish a model's
    evaluations on one split. Commits are not among them, so a repeated evaluation has the same.
    `counts` says of the replies how many are empty (`empty_replies`), were cut at the limit of new
    tokens (`truncated`) and had a thought cut off (`thoughts_cut`), and how many true replies could
    not be scored (`targets_left_out`).
    `by_kind` has the scores of the kinds of KoSent-Bench's items, under the part's name.
    `primary` is the metric that was named beforehand. `resampling` says how intervals and p values
    were made. `task_version` changes with the code of any metric; `code` is the release of
    kosent-hub, and its commit where it runs from a checkout.
    """

    model: EvaluatedModel
    dataset: EvaluatedDataset
    protocol: Protocol
    metrics: dict[str, Metric]
    speed: Speed
    versions: dict[str, str]
    created: str
    by_emotion: dict[str, Group] = field(default_factory=dict)
    by_kind: dict[str, dict[str, Group]] = field(default_factory=dict)
    references: dict[str, Group] = field(default_factory=dict)
    baseline: Baseline | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    primary: str | None = None
    resampling: dict[str, Any] = field(default_factory=dict)
    task_version: str | None = None
    code: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def seeds(self) -> list[int]:
        """Those that the replies were drawn with; [] for greedy replies."""
        found = self.protocol.generation.get("seeds")
        return found if isinstance(found, list) else []

    @property
    def replies(self) -> int:
        """The samples' replies, which `counts` are of: one for each sample and seed."""
        return self.dataset.samples * max(1, len(self.seeds))


@dataclass(frozen=True)
class Rubric:
    """The rubric and prompts of a judgement: version and SHA-256."""

    version: str
    sha256: str


@dataclass(frozen=True)
class Share:
    """A share, or a mean, of `n` cases; `value` is None of no case, `ci95` where none holds."""

    value: float | None
    n: int
    ci95: list[float] | None = None


@dataclass(frozen=True)
class WinRate:
    """How often the first model is preferred to the second one, of both by name: wins and half of
    the ties, over all. `ci95` is from draws of dialogues."""

    first: str
    second: str
    value: float | None
    wins: int
    ties: int
    losses: int
    ci95: list[float] | None = None


@dataclass(frozen=True)
class Preferences:
    """What one judge, or several together, prefer.

    `strengths` are Bradley and Terry's, in logits around 0, by model; {} for two models.
    """

    win_rates: list[WinRate]
    strengths: dict[str, Value] = field(default_factory=dict)


def is_believable(check: Share) -> bool:
    """Whether a judge did well enough on the check set."""
    return check.value is not None and check.value >= BELIEVABLE


@dataclass(frozen=True)
class ModelJudge:
    """A model that judged: how far it is to be believed, and what it prefers.

    `settings` are language, limit, backend, generation and the like. `counts`: pairs, same_replies
    (not asked), answers, retried, failures (pairs without both answers), ratings, rating_failures.
    `check` is the share of the check set's pairs that were judged right in both orders, `by_kind`
    the same by kind. `biases`: order_consistency, first_chosen, longer_chosen. `same_family` are
    the judged models of the judge's own family. `ratings` are means of the rubric's points and
    shares of what goes wrong, by model.
    """

    name: str
    model: EvaluatedModel
    settings: dict[str, Any]
    counts: dict[str, int]
    check: Share
    by_kind: dict[str, Share]
    biases: dict[str, Share]
    same_family: list[str]
    preferences: Preferences
    ratings: dict[str, dict[str, Share]] = field(default_factory=dict)

    @property
    def believable(self) -> bool:
        """Whether the judge did well enough on the check set for its win rates to be shown."""
        return is_believable(self.check)


@dataclass(frozen=True)
class People:
    """People who judged: `raters` has how many votes each gave, by the hash of a nickname.

    `self_agreement` is that on pairs that came twice, `preferences` are of each pair's majority.
    """

    raters: dict[str, int]
    self_agreement: Share
    preferences: Preferences


@dataclass(frozen=True)
class Agreement:
    """How far judges agree. `measure` is "alpha" (Krippendorff's, nominal) among people, "kappa"
    (Cohen's) of the people's majority and a model, `judge`; `same` is the share of equal verdicts.
    """

    measure: str
    value: float | None
    n: int
    same: float | None
    ci95: list[float] | None = None
    judge: str | None = None


@dataclass(frozen=True)
class Judgements:
    """`kosent/judgements/*.json`: who prefers which of several models' replies to one split.

    `replies_sha256` is that of all replies. `majority` is that of the believable judges, where
    there are several. It holds no text of the dataset.
    """

    dataset: EvaluatedDataset
    models: dict[str, EvaluatedModel]
    rubric: Rubric
    replies_sha256: str
    judges: list[ModelJudge]
    people: People | None
    majority: Preferences | None
    agreement: list[Agreement]
    resampling: dict[str, Any]
    versions: dict[str, str]
    created: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Detection:
    """How well labelled replies are told apart: of the replies found, those labelled so
    (`precision`), and of the replies labelled so, those found (`recall`)."""

    precision: Share
    recall: Share

    @property
    def believable(self) -> bool:
        """Whether both are high enough for scores to be looked at."""
        return is_believable(self.precision) and is_believable(self.recall)


@dataclass(frozen=True)
class PartScore:
    """A share by a judge, and by pattern where there is a pattern for it. `question` names what the
    judge must be able to tell, in BenchJudgement.labelled."""

    question: str
    judge: Share
    pattern: Share | None


@dataclass(frozen=True)
class BenchJudgement:
    """`kosent/bench_judgements/*.json`: the parts of KoSent-Bench by a judge. It holds no reply.

    `evaluated` is `created` of the evaluation whose replies were judged: a card shows both
    together. `labelled` has by question the judge's Detection, and that of the pattern under
    `patterns`. `scores` are by the judged model's name, as in `models`, and the score's; the first
    model is the one evaluated, the second its baseline. `counts`: answers, retried (asked again),
    failures (answers that could not be read; they count in no score).
    """

    dataset: EvaluatedDataset
    evaluated: str
    models: dict[str, EvaluatedModel]
    judge: str
    model: EvaluatedModel
    settings: dict[str, Any]
    questions: Rubric
    labelled: dict[str, Detection]
    patterns: dict[str, Detection]
    scores: dict[str, dict[str, PartScore]]
    counts: dict[str, int]
    seed: int
    versions: dict[str, str]
    created: str
    schema_version: int = SCHEMA_VERSION

    def is_of(self, results: Results) -> bool:
        """Whether the replies judged are those of this evaluation."""
        return (self.dataset, self.evaluated) == (results.dataset, results.created)


Record = TypeVar("Record")


def dumps(record: Any) -> str:
    """The record as JSON text: two-space indent, Hangul unescaped, newline at the end.

    A number that is not finite becomes null: JSON has no other word for it.
    """
    return json.dumps(finite(dataclasses.asdict(record)), ensure_ascii=False, indent=2) + "\n"


def finite(value: Any) -> Any:
    """What JSON can hold of lists, dicts and numbers: None in place of numbers that are not finite.

    Python's json would write NaN, which no other reader takes.
    """
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def loads(kind: type[Record], text: str, where: str) -> Record:
    """A record from JSON text; raises KoSentError naming `where` and the field that is wrong."""
    try:
        # Records of schema 1 may hold NaN, which says that nothing was measured.
        data = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise KoSentError(
            where, f"not JSON ({error})", "write it again with the command that made it"
        ) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version not in (*OLDER_VERSIONS, SCHEMA_VERSION):
        raise KoSentError(
            where,
            f"schema_version {version!r}, this kosent-hub reads {SCHEMA_VERSION}",
            "use the version that wrote it, or write it again",
        )
    return _build(kind, _upgrade(data) if version != SCHEMA_VERSION else data, where)


def _upgrade(data: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 1 as one of schema 2: its scores by part had a number for each metric."""
    upgraded = data | {"schema_version": SCHEMA_VERSION}
    for name in ("by_emotion", "references"):
        if isinstance(data.get(name), dict):
            upgraded[name] = {
                part: {"samples": None, "metrics": {m: {"value": v} for m, v in scores.items()}}
                if isinstance(scores, dict)
                else scores
                for part, scores in data[name].items()
            }
    return upgraded


def read(kind: type[Record], path: Path) -> Record:
    """A record from a file."""
    return loads(kind, decode_text(path.read_bytes(), path, "write it again"), str(path))


def eval_path(results: Results) -> str:
    """The path of these results in a model repo: `kosent/eval/<dataset>--<split>.json`.

    With other settings than the defaults `<dataset>--<split>--<hash>.json`: results under several
    settings are kept side by side, and a repeated evaluation replaces its own.
    """
    slug = results.dataset.id.replace("/", "--")
    return f"{EVAL_FOLDER}/{slug}--{results.dataset.split}{suffix(results.settings)}.json"


def judgements_path(found: Judgements) -> str:
    """The path of judgements in a model repo: `kosent/judgements/<dataset>--<split>--<hash>.json`.

    The hash is that of the models compared.
    """
    slug = f"{found.dataset.id.replace('/', '--')}--{found.dataset.split}"
    return f"{JUDGEMENTS_FOLDER}/{slug}{suffix({'models': sorted(found.models)})}.json"


def bench_judgement_path(found: BenchJudgement) -> str:
    """The path in a model repo: `kosent/bench_judgements/<dataset>--<split>--<hash>.json`.

    The hash is that of the models, the judge and its settings.
    """
    told = {"models": sorted(found.models), "judge": found.judge, "settings": found.settings}
    slug = f"{found.dataset.id.replace('/', '--')}--{found.dataset.split}"
    return f"{BENCH_JUDGEMENTS_FOLDER}/{slug}{suffix(told)}.json"


def suffix(settings: Mapping[str, Any]) -> str:
    """`--` and eight hex digits of the settings' hash, for names of files; "" for none."""
    if not settings:
        return ""
    text = json.dumps(settings, sort_keys=True)
    return f"--{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` (parsed JSON) as the annotated type `kind`, every field checked."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = [a for a in typing.get_args(kind) if a is not types.NoneType]
        return _build(inner, value, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise KoSentError(where, f"expected an object, found {type(value).__name__}")
        hints = typing.get_type_hints(kind)
        fields = {f.name: f for f in dataclasses.fields(kind)}
        unknown = sorted(value.keys() - fields.keys())
        if unknown:
            raise KoSentError(
                where, f"unknown field {unknown[0]!r}", "was it written by a newer kosent-hub?"
            )
        missing = [
            name
            for name, f in fields.items()
            if name not in value
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise KoSentError(where, f"field {missing[0]!r} is missing", "write it again")
        return kind(
            **{name: _build(hints[name], v, f"{where}: {name}") for name, v in value.items()}
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise KoSentError(where, f"expected an object, found {type(value).__name__}")
        inner = typing.get_args(kind)[1]
        return {name: _build(inner, v, f"{where}: {name}") for name, v in value.items()}
    if origin is list:
        if not isinstance(value, list):
            raise KoSentError(where, f"expected a list, found {type(value).__name__}")
        inner = typing.get_args(kind)[0]
        return [_build(inner, v, f"{where}[{i}]") for i, v in enumerate(value)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise KoSentError(where, f"expected {kind.__name__}, found {value!r}")
    return value
