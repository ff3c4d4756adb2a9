"""The job of a training: what it runs, on which machine, for how long; written down, and started.

The job installs this checkout's wheel and the versions that are installed here, both out of a
private repo of the user that is mounted at one commit, and runs `kosent-train` as it would run
here. What it makes it pushes, as its machine is gone afterwards. It is what `hf jobs uv run` makes,
but that command takes no file of requirements.
"""

from __future__ import annotations

import math
import os
import platform
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from huggingface_hub import CommitOperationAdd, HfApi, Volume, get_token
from huggingface_hub.errors import HfHubHTTPError

from kosent_hub.models.data.outside import is_open
from kosent_hub.models.machine.wheel import build_wheel, pinned
from kosent_hub.training import preflight, recipe
from kosent_hub.training.jobs.flavors import Flavor, choose
from kosent_hub.training.planning.memory import DEFAULTS
from kosent_hub.training.planning.plan import PlanOptions, load_job
from model_card.publishing import session
from model_card.publishing.commit import commit
from model_card.publishing.errors import KoSentError, next_step
from model_card.publishing.hub_ids import is_hub_id

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

    from kosent_hub.training.recipe import Settings

FLAG = "--i-may-store-this-data-abroad"
IMAGE = "ghcr.io/astral-sh/uv:python{python}-bookworm"
# Where the job finds its files, the repo of the user that has them, and the run folder there.
MOUNT, REPO, FOLDER = "/kosent", "kosent-jobs", "run"
REQUIREMENTS = "requirements.txt"
# Seconds beside the training: installing, downloading the base, validations, the push. And the
# longest time of the plan, which is a guess, times this.
BESIDE, MARGIN = 3600, 1.5
# Settings that another machine has otherwise, or that reach it in another way.
OWN = ("config", "output_dir", "hub_token", "chat_template_path")


@dataclass(frozen=True)
class JobOptions:
    """The options of a job: the `flags` of the training, the machine's `flavor` (None: the smallest
    that it fits), and whether the user may store the data abroad."""

    flags: Sequence[str]
    flavor: str | None = None
    i_may_store_this_data_abroad: bool = False


@dataclass(frozen=True)
class TrainingJob:
    """A job that can be started: its machine, its command, and the `files` it finds under MOUNT,
    of which `repo_id` gets a commit. `most_usd` is the price of the whole timeout, if known.

    `secrets` are names; `token` is the value of the one that there is.
    """

    flavor: Flavor
    timeout_seconds: int
    most_usd: float | None
    image: str
    command: list[str]
    versions: list[str]
    repo_id: str
    model: str
    secrets: tuple[str, ...] = ("HF_TOKEN",)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)

    def as_json(self) -> dict[str, Any]:
        """The job without the token and the files' content."""
        shown = asdict(replace(self, token="", files={}))
        return {k: v for k, v in shown.items() if k != "token"} | {"files": sorted(self.files)}

    def lines(self) -> list[str]:
        """The job as a person reads it."""
        plan, machine = self.flavor.plan, self.flavor
        shortest, longest = plan.hours or (0.0, 0.0)
        price = machine.usd_an_hour
        an_hour = "" if price is None else f", ${price:.2f} an hour"
        at_most = "" if self.most_usd is None else f", at most ${self.most_usd:.2f}"
        return [
            f"machine   {machine.name}: {machine.gpu}, {plan.available_gib:g} GiB{an_hour}",
            f"plan      {plan.peak_gib:.1f} GiB, {plan.steps:,} steps, {shortest:.1f} to "
            f"{longest:.1f} hours",
            f"timeout   {self.timeout_seconds / 3600:.1f} hours{at_most}",
            f"image     {self.image}",
            f"files     {', '.join(sorted(self.files))}: to the private repo {self.repo_id}, "
            f"mounted at {MOUNT}",
            f"versions  {len(self.versions)} packages, those installed here",
            f"secrets   {', '.join(self.secrets)}",
            f"result    {self.model}",
            f"command   {shlex.join(self.command)}",
        ]


def prepare(options: JobOptions) -> TrainingJob:
    """The job of a training; nothing is written or started.

    Raises KoSentError for what would fail there: no token, nothing to push to, data or a base that
    only this machine has, data that may not be stored abroad, a base that fits no machine.
    """
    name, flags = recipe.split_config(options.flags)
    settings = recipe.parse(options.flags)
    if settings.token:
        os.environ["HF_TOKEN"] = settings.token
    token = get_token()
    if not token:
        raise KoSentError(
            None, "no Hub token on this machine, and a job needs one", "run `hf auth login`"
        )
    session.install()
    preflight.refuse([*_problems(settings), *preflight.elsewhere(settings)])
    if not options.i_may_store_this_data_abroad and not is_open(settings.dataset_id):
        raise KoSentError(
            settings.dataset_id,
            "a job's machine is abroad, and storing AI Hub's data or training on it there needs "
            "an agreement",
            f"if you have one, or this is not AI Hub's data, add {FLAG}",
        )
    fields = recipe.fields(flags, DEFAULTS)
    plan = load_job(PlanOptions(name, dataset=settings.dataset_id, fields=fields))
    api = HfApi(token=token)
    flavor = choose(plan, {one.name: one for one in api.list_jobs_hardware()}, options.flavor)
    _, longest = flavor.plan.hours or (0.0, 0.0)
    seconds = 60 * math.ceil((longest * 3600 * MARGIN + BESIDE) / 60)
    price = flavor.usd_an_hour
    given, files = _own_files(name, settings)
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder), "--on hf-jobs")
        versions = pinned(wheel)
        files[wheel.name] = wheel.read_bytes()
    files[REQUIREMENTS] = "".join(f"{x}\n" for x in [*versions, f"{MOUNT}/{wheel.name}"]).encode()
    python = ".".join(platform.python_version_tuple()[:2])
    assert settings.push is not None
    return TrainingJob(
        flavor=flavor,
        timeout_seconds=seconds,
        most_usd=None if price is None else round(price * seconds / 3600, 2),
        image=IMAGE.format(python=python),
        command=[
            *("uv", "run", "--no-project", "--python", python),
            *("--with-requirements", f"{MOUNT}/{REQUIREMENTS}", "kosent-train"),
            *given,
            *_without(flags, OWN),
            *("--output_dir", FOLDER),
        ],
        versions=versions,
        repo_id=f"{api.whoami()['name']}/{REPO}",
        model=settings.push.repo_id,
        files=files,
        token=token,
    )


def start(job: TrainingJob) -> JobInfo:
    """The started job, its files pushed to the user's private repo first.

    Raises KoSentError where the Hub refuses, or gives no answer: then it may have been started.
    """
    files = [CommitOperationAdd(path, data) for path, data in sorted(job.files.items())]
    url = commit(job.repo_id, lambda _: files, message=f"Train {job.model}", private=True)
    volume = Volume(
        type="model", source=job.repo_id, mount_path=MOUNT, revision=url.rpartition("/")[2]
    )
    owner = job.repo_id.split("/")[0]
    # A job that was started twice would cost twice, so the request is never repeated.
    with next_step("look whether it was started before you start it again: hf jobs ps"):
        try:
            return HfApi(token=job.token).run_job(
                image=job.image,
                command=job.command,
                secrets=dict.fromkeys(job.secrets, job.token),
                flavor=job.flavor.name,
                timeout=job.timeout_seconds,
                name=f"kosent-{job.model.split('/')[1]}",
                volumes=[volume],
                namespace=owner,
            )
        except HfHubHTTPError as error:
            if error.response.status_code >= 500:
                raise
            refused = error
    if refused.response.status_code == 402:
        what = f"the Hub wants to be paid for jobs ({refused.server_message})"
        raise KoSentError(owner, what, f"see {HfApi().endpoint}/settings/billing")
    raise refused


def _problems(settings: Settings) -> list[str]:
    """What a job could not do, one line each."""
    found: list[str] = []
    dataset, adapter = settings.dataset_id, settings.extra.adapter
    if dataset and Path(dataset).exists():
        found.append(
            f"{dataset} is on this machine, and a job reads the Hub: kosent-data push {dataset} "
            "--repo-id ORG/NAME, then --dataset_name ORG/NAME"
        )
    if settings.push is None:
        found.append(
            "a job's machine is gone when it ends: add --push_to_hub true --hub_model_id ORG/NAME"
        )
    elif Path(settings.model_id).exists() and is_hub_id(settings.model_id):
        found.append(
            f"the base {settings.model_id} is a folder of this machine, and a job reads the Hub: "
            "run this where there is no such folder"
        )
    if adapter is not None and Path(adapter).exists():
        found.append(
            f"{adapter} is on this machine, and a job reads the Hub: kosent-train push {adapter} "
            "--repo-id ORG/NAME, then --adapter ORG/NAME"
        )
    if settings.extra.inspect:
        found.append("--inspect prints samples and trains nothing: leave --on hf-jobs out")
    if "use_cpu" in settings.asked and settings.training.use_cpu:
        found.append(f"{settings.recipe} is for a CPU, and a job gets a GPU: --use_cpu false")
    if "trackio" in (settings.training.report_to or ()):
        found.append(
            "--report_to trackio: its curves would stay on the job's machine: leave it out"
        )
    for name, value in settings.values(settings.asked - {*OWN, "dataset_name", "adapter"}).items():
        if isinstance(value, str) and Path(value).is_file():
            found.append(f"--{name} {value} is a file of this machine, which a job has not")
    return found


def _own_files(name: str, settings: Settings) -> tuple[list[str], dict[str, bytes]]:
    """The flags that name recipe and chat template there, and what of these is no packaged file."""
    flags = ["--config", name]
    files: dict[str, bytes] = {}
    if name not in recipe.packaged():
        values = {k: v for k, v in recipe.load(name).items() if k not in OWN}
        path = f"recipe/{recipe.title(name)}"
        files[path] = yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode()
        flags = ["--config", f"{MOUNT}/{path}"]
    if settings.chat_template is not None:
        given: Any = settings.training  # not DPO's, which has none
        path = f"template/{Path(given.chat_template_path).name}"
        files[path] = settings.chat_template.encode()
        flags += ["--chat_template_path", f"{MOUNT}/{path}"]
    return flags, files


def _without(flags: Sequence[str], names: Sequence[str]) -> list[str]:
    """The flags but those of these names, and their values."""
    kept: list[str] = []
    left_out = False
    for part in flags:
        if part.startswith("--"):
            left_out = part[2:].partition("=")[0].replace("-", "_") in names
        if not left_out:
            kept.append(part)
    return kept
