"""The machines that the Hub rents for jobs, as far as they have one GPU, and which one a plan fits.

Names are those of huggingface_hub 2.4 (`JobHardware`); what is to be had now, and for how much, the
Hub itself says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kosent_hub.training.planning import gpus
from kosent_hub.training.planning.plan import Job, Plan, plan_job
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from huggingface_hub import JobHardwareInfo

# Flavour -> its GPU's name in planning/gpus.py, the smallest first.
FLAVORS = {
    "t4-small": "T4",
    "t4-medium": "T4",
    "l4x1": "L4",
    "a10g-small": "A10G",
    "a10g-large": "A10G",
    "l40sx1": "L40S",
    "a100-large": "A100 80GB",
    "rtx-pro-6000": "RTX PRO 6000 SE",
    "h200": "H200",
}
HOURS = {"minute": 1 / 60, "hour": 1.0}


@dataclass(frozen=True)
class Flavor:
    """A machine for a job: its GPU, the plan of the training on that, and its price.

    `usd_an_hour` is None where the Hub counts in something else than minutes and hours.
    """

    name: str
    gpu: str
    plan: Plan
    usd_an_hour: float | None


def choose(job: Job, offered: Mapping[str, JobHardwareInfo], wanted: str | None) -> Flavor:
    """The flavour that is `wanted`, or the smallest that the Hub offers and the training fits.

    Raises KoSentError for one that is not offered or not in FLAVORS, and where the training does
    not fit.
    """
    there = [name for name in FLAVORS if name in offered]
    if wanted is not None and wanted not in there:
        known = "is none with one GPU that is known here"
        why = known if wanted in offered else "is not offered by the Hub"
        raise KoSentError(f"--flavor {wanted}", why, f"there are {', '.join(there) or 'none'}")
    planned = None
    for name in [wanted] if wanted else there:
        gpu = gpus.find(FLAVORS[name])
        planned = plan_job(replace(job, gpu=gpu))
        if planned.fits:
            hours = HOURS.get(offered[name].unit_label)
            price = None if hours is None else offered[name].unit_cost_usd / hours
            return Flavor(name, gpu.name, planned, price)
    if planned is None:
        raise KoSentError(
            None, "the Hub offers no machine with one GPU at present", "train on another machine"
        )
    where = f"--flavor {wanted}" if wanted else f"{there[-1]}, the largest there is"
    remedies = " or ".join(planned.suggestions)
    if planned.peak_gib <= (planned.available_gib or 0):
        raise KoSentError(where, remedies)
    need = f"the training needs {planned.peak_gib:.1f} GiB of {planned.available_gib:.1f}"
    raise KoSentError(where, need, f"add {remedies}" if remedies.startswith("--") else remedies)
