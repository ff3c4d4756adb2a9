"""Commands in forks of one process that has imported what they need, each as good as a new one.

Reads a job a line (JSON: program, arguments, cwd, env, out, err) and answers its exit status.
HF_ENDPOINT and HF_HOME are the process's own, for the libraries read them when imported.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any, NoReturn

PROGRAMS = {
    "kosent-data": "dataset_builder.cli",
    "kosent-eval": "kosent_hub.evaluate",
    "kosent-card": "model_card.cli",
    "kosent_hub.push": "kosent_hub.push",
    "kosent_hub.train": "kosent_hub.train",
}
HEAVY = (
    *("dataset_builder.push", "model_card.publish", "model_card.check", "model_card.local"),
    *("kosent_hub.evaluation", "kosent_hub.backends.transformers", "kosent_hub.preflight"),
    *("kosent_hub.trainer", "kosent_hub.data", "kosent_hub.record", "datasets", "peft", "trl"),
)
LONGEST_SECONDS = 900


def main() -> None:
    """Serve until stdin ends."""
    for name in (*PROGRAMS.values(), *HEAVY):
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(job)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(job: dict[str, Any]) -> NoReturn:
    """Become the command."""
    signal.alarm(LONGEST_SECONDS)
    for number, path in enumerate((os.devnull, job["out"], job["err"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), number)
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    sys.argv = [job["program"], *job["arguments"]]
    status = 1
    try:
        status = importlib.import_module(PROGRAMS[job["program"]]).main()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
