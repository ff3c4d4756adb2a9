"""Jobs: what machines there are, and a job that is taken down and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.hub import accounts
from tests.support.hub.messages import Request, Response, answer
from tests.support.hub.store import HubError, now

if TYPE_CHECKING:
    from tests.support.hub.hub import Hub

# Name, GPU, how many, GB of each, micro-dollars a minute: as the Hub lists them, some of them.
MACHINES = (
    ("cpu-basic", None, 0, 0, 167),
    ("t4-small", "T4", 1, 16, 6667),
    ("l4x1", "L4", 1, 24, 13333),
    ("a10g-small", "A10G", 1, 24, 16667),
    ("a10g-largex2", "A10G", 2, 24, 50000),
    ("a100-large", "A100", 1, 80, 41667),
)


def hardware(hub: Hub, request: Request) -> Response:
    return answer(
        [
            {
                "name": name,
                "prettyName": name,
                "cpu": "4 vCPU",
                "ram": "15 GB",
                "ephemeralStorage": "50 GB",
                "accelerator": gpu
                and {
                    "type": "gpu",
                    "model": gpu,
                    "quantity": str(number),
                    "vram": f"{number * memory} GB",
                    "manufacturer": "Nvidia",
                },
                "unitCostMicroUSD": price,
                "unitCostUSD": price / 1e6,
                "unitLabel": "minute",
            }
            for name, gpu, number, memory, price in MACHINES
        ]
    )


def run(hub: Hub, request: Request, namespace: str) -> Response:
    """A job, as it was asked for, in `hub.jobs`; the answer has no secret."""
    asked = request.json()
    if not accounts.may_write_namespace(accounts.require_token(request.token), namespace):
        raise HubError(403, None, f"You may not run jobs in the namespace {namespace}")
    if asked.get("flavor") not in [name for name, *_ in MACHINES]:
        raise HubError(400, None, f"Invalid flavor: {asked.get('flavor')}")
    if not isinstance(asked.get("command"), list) or not asked.get("dockerImage"):
        raise HubError(400, None, "A job needs a command and an image")
    with hub.store.lock:
        for volume in asked.get("volumes", []):
            kind, source = volume["type"], volume["source"]
            hub.visible(request, kind, source).commit_at(volume.get("revision") or "main")
        hub.jobs.append(asked | {"namespace": namespace})
        number = len(hub.jobs)
    return answer(
        {
            "id": f"{number:024x}",
            "createdAt": now(),
            "dockerImage": asked["dockerImage"],
            "command": asked["command"],
            "arguments": asked.get("arguments", []),
            "environment": asked.get("environment", {}),
            "secrets": dict.fromkeys(asked.get("secrets", {})),
            "flavor": asked["flavor"],
            "labels": asked.get("labels", {}),
            "volumes": asked.get("volumes", []),
            "status": {"stage": "SCHEDULING", "message": None},
            "owner": {"id": namespace, "name": namespace, "type": "user"},
        }
    )


ROUTES = [
    ("GET", r"/api/jobs/hardware", hardware),
    ("POST", r"/api/jobs/(?P<namespace>[\w.-]+)", run),
]
