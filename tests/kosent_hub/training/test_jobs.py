"""`kosent-train --on hf-jobs`: what is printed, started and refused, and the job itself at work."""

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest

from model_card import records
from tests.kosent_hub.conftest import write_dataset

BASE, DATA, MODEL, FILES = (
    "kosent/tiny-llama",
    "alice/dialogues",
    "kosent/tiny-KoSent",
    "alice/kosent-jobs",
)
RECIPE = f"""
extends: llama-3.2-1b/lora-8gb
model_name_or_path: {BASE}
output_dir: /home/alice/somewhere
dtype: float32
bf16: false
eval_strategy: "no"
"""
ABROAD = "--i-may-store-this-data-abroad"
PUSH = f"--push_to_hub true --hub_model_id {MODEL}".split()
TRAIN = [
    *f"kosent-train --on hf-jobs --config mine.yaml --dataset_name {DATA} --max_steps 2".split(),
    *("--chat_template_path", "my.jinja", *PUSH, ABROAD),
]


@pytest.fixture
def place(hub, tiny_llama: Path, tmp_path: Path) -> Path:
    """Where a user has a recipe and a chat template; base and private data are on the Hub."""
    hub.create(BASE, files={p.name: p for p in tiny_llama.iterdir() if p.is_file()})
    data = write_dataset(tmp_path / "made")
    files = {str(p.relative_to(data)): p for p in data.rglob("*.parquet")}
    hub.create(DATA, "dataset", private=True, files=files)
    place = tmp_path / "place"
    place.mkdir()
    (place / "mine.yaml").write_text(RECIPE)
    (place / "my.jinja").write_text((tiny_llama / "chat_template.jinja").read_text())
    return place


@pytest.fixture
def refusal(run, hub, place: Path):
    """What a job with these flags says, which must be refused before anything is sent."""

    def refusal(*flags: str, user: str | None = "alice") -> list[str]:
        done = run([*TRAIN[:5], *flags], cwd=place, env=hub.env(user))
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "Traceback" not in done.stderr
        assert hub.jobs == [] and not hub.exists(FILES)
        return done.stderr.splitlines()

    return refusal


def test_what_a_job_could_not_do_is_refused(refusal, place: Path):
    data = ("--dataset_name", DATA)
    assert refusal(*data, *PUSH, ABROAD, user=None) == [
        "kosent-train: no Hub token on this machine, and a job needs one; run `hf auth login`"
    ]
    assert refusal(*data, *PUSH)[-1] == (
        f"kosent-train: {DATA}: a job's machine is abroad, and storing AI Hub's data or training "
        "on it there needs an agreement; if you have one, or this is not AI Hub's data, add "
        f"{ABROAD}"
    )
    assert refusal(*data, ABROAD) == [
        "kosent-train: a job's machine is gone when it ends: add --push_to_hub true "
        "--hub_model_id ORG/NAME"
    ]
    write_dataset(place / "dataset")
    said = refusal("--dataset_name", "dataset", *PUSH, "--report_to", "trackio", "--use_cpu")
    numbered = [line for line in said if line[:3] in ("1. ", "2. ", "3. ")]
    assert [line.partition(": ")[0] for line in numbered] == [
        "1. dataset is on this machine, and a job reads the Hub",
        "2. mine.yaml is for a CPU, and a job gets a GPU",
        "3. --report_to trackio",
    ]
    assert "kosent-data push dataset --repo-id ORG/NAME, then --dataset_name" in numbered[0]
    assert re.search("[34] problems", said[-1])  # the fourth where trackio is not installed


@pytest.mark.slow
def test_a_machine_that_will_not_do_is_refused(refusal):
    data = ("--dataset_name", DATA)
    assert refusal(*data, *PUSH, ABROAD, "--flavor", "a10g-largex2")[-1] == (
        "kosent-train: --flavor a10g-largex2: is none with one GPU that is known here; "
        "there are t4-small, l4x1, a10g-small, a100-large"
    )
    assert (
        "--flavor h200: is not offered by the Hub; "
        in (refusal(*data, *PUSH, ABROAD, "--flavor", "h200")[-1])
    )
    assert refusal(*data, *PUSH, ABROAD, "--bf16", "true", "--flavor", "t4-small")[-1] == (
        "kosent-train: --flavor t4-small: T4 has no bfloat16: --dtype float16 --bf16 false "
        "--fp16 true"
    )
    large = refusal(*data, *PUSH, ABROAD, "--per_device_train_batch_size", "99999999")[-1]
    assert "a100-large, the largest there is: the training needs " in large


@pytest.mark.slow
def test_a_job_is_printed_then_started_and_does_the_training(run, hub, place: Path, tmp_path: Path):
    token = hub.token()
    shown = run(TRAIN, cwd=place, env=hub.env())
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("machine   t4-small: T4, 14.6 GiB, $0.40 an hour\n")
    assert shown.stderr.endswith("nothing was started or sent; start it with --yes\n")
    assert hub.jobs == [] and not hub.exists(FILES)

    done = run([*TRAIN, "--hub_token", token, "--yes", "--json"], cwd=place, env=hub.env(None))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (job,) = hub.jobs
    assert job.pop("secrets") == {"HF_TOKEN": token}
    files = hub.files(FILES)
    for text in (json.dumps(job), done.stdout, done.stderr, *map(repr, files.values())):
        assert token not in text and str(tmp_path) not in text and "/home/alice" not in text
    assert told["url"] == f"{hub.endpoint}/jobs/alice/{told['id']}"
    assert f"hf jobs logs -f alice/{told['id']}" in done.stderr
    assert (job["flavor"], job["namespace"]) == ("t4-small", "alice")
    assert job["volumes"] == [
        {"type": "model", "source": FILES, "mountPath": "/kosent", "revision": hub.head(FILES)}
    ]
    assert hub.is_private(FILES)
    python = "{}.{}".format(*sys.version_info)
    assert job["dockerImage"] == f"ghcr.io/astral-sh/uv:python{python}-bookworm"
    plan = f"kosent-plan mine.yaml --gpu T4 --dataset {DATA} --max_steps 2 --json"
    planned = json.loads(run(plan.split(), cwd=place, env=hub.env()).stdout)
    assert told["flavor"]["plan"] == planned
    assert job["timeoutSeconds"] == told["timeout_seconds"]
    assert 0 <= job["timeoutSeconds"] - (planned["hours"][1] * 1.5 + 1) * 3600 < 60
    assert told["most_usd"] == pytest.approx(job["timeoutSeconds"] / 3600 * 0.4, abs=0.01)

    *pinned, wheel = files["requirements.txt"].decode().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in pinned)
    assert {"torch", "trl", "peft", "bitsandbytes"} <= {line.split("==")[0] for line in pinned}
    assert "gradio" not in {line.split("==")[0] for line in pinned}
    assert wheel.startswith("/kosent/kosent_hub-") and wheel.removeprefix("/kosent/") in files
    at = job["command"].index("kosent-train")
    assert job["command"][:at] == [
        *("uv", "run", "--no-project", "--python", python),
        *("--with-requirements", "/kosent/requirements.txt"),
    ]

    # The job itself: its files where it finds them, its wheel alone, and no GPU.
    mounted = tmp_path / "kosent"
    for name, data in files.items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_bytes(data)
    zipfile.ZipFile(mounted / Path(wheel).name).extractall(tmp_path / "installed")
    env = hub.env() | {"PYTHONPATH": str(tmp_path / "installed")}
    where = [sys.executable, "-c", "import kosent_hub; print(kosent_hub.__file__)"]
    assert run(where, cwd=tmp_path, env=env, fresh=True).stdout.startswith(str(tmp_path))
    flags = [part.replace("/kosent/", f"{mounted}/") for part in job["command"][at + 1 :]]
    command = [sys.executable, "-m", "kosent_hub.train", *flags, "--use_cpu", "true"]
    (tmp_path / "there").mkdir()
    trained = run(command, cwd=tmp_path / "there", env=env, fresh=True)
    assert trained.returncode == 0, trained.stderr
    record = records.loads(records.Run, hub.files(MODEL)["kosent/run.json"].decode(), "run.json")
    assert (record.recipe, record.training.steps) == ("mine.yaml", 2)
    assert record.dataset.revision == hub.head(DATA, "dataset")
    assert record.config["chat_template_path"] == "my.jinja"


@pytest.mark.slow
def test_a_job_whose_answer_is_lost_is_not_started_twice(run, hub, place: Path):
    hub.fault("POST /api/jobs/alice", "lost_answer")
    done = run([*TRAIN, "--yes"], cwd=place, env=hub.env())
    assert done.returncode == 2 and len(hub.jobs) == 1
    assert "look whether it was started before you start it again: hf jobs ps" in done.stderr
    hub.fault("POST /api/jobs/alice", "status", code=402)
    done = run([*TRAIN, "--yes"], cwd=place, env=hub.env())
    assert done.returncode == 2 and len(hub.jobs) == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("kosent-train: ")]
    assert "alice: the Hub wants to be paid for jobs" in line and "/settings/billing" in line
