"""What the packages promise to whoever installs them: light imports, quick help, a whole wheel."""

import json
import os
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

BIN = Path(sys.executable).parent
ROOMS = ("dataset_builder", "kosent_hub", "model_card")
COMMANDS = [
    "kosent-data",
    "kosent-plan",
    "kosent-train",
    "kosent-eval",
    "kosent-judge",
    "kosent-chat",
    "kosent-export",
    "kosent-card",
    "kosent-demo",
]


def imported_by(code: str) -> set[str]:
    """Top-level names in sys.modules after `code` ran in a new process."""
    show = "import sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(answer.stdout.splitlines()[-1]))


def test_dataset_builder_and_model_card_import_no_torch():
    loaded = imported_by("import dataset_builder, dataset_builder.cli, model_card, model_card.cli")
    assert loaded.isdisjoint({"torch", "transformers", "trl", "peft"})


def test_importing_every_leaf_module_of_the_torch_free_rooms_imports_no_torch():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in ("dataset_builder", "model_card")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.stem not in ("__init__", "__main__")
        and path.parent.name != "lm_eval_task"  # what lm-eval runs
    ]
    loaded = imported_by("import " + ", ".join(names))
    assert loaded.isdisjoint({"torch", "transformers"})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_without_heavy_imports(command: str):
    env = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    started = time.monotonic()
    answer = subprocess.run([BIN / command, "--help"], capture_output=True, text=True, env=env)
    seconds = time.monotonic() - started
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"usage: {command}")
    loaded = {line.split("|")[-1].strip() for line in answer.stderr.splitlines()}
    assert loaded.isdisjoint({"torch", "transformers", "datasets", "matplotlib", "pyarrow"})
    assert seconds < 5, "far over any machine's noise: something heavy is imported"


def test_a_packaged_base_is_planned_from_its_stored_counts():
    """Every recipe of the package on every GPU that is known, without what a model would need."""
    loaded = imported_by("from kosent_hub import plan; assert plan.main(['--all-gpus']) == 0")
    assert loaded.isdisjoint({"torch", "transformers", "huggingface_hub", "httpx", "datasets"})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because pip would leave a `build` here whose files, stale ones too, get into the next.
    source = folder / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    # With the setuptools of this environment, which the lock file names.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, source], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_templates_recipes_and_sample(wheel: Path):
    held = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                assert str(path.relative_to(ROOT)) in held
    sample = "dataset_builder/sample/"
    assert {name.removeprefix(sample) for name in held if name.startswith(sample)} == {
        "README.md",
        "Training/sample_Training.csv",
        "Validation/sample_Validation.csv",
    }


@pytest.mark.slow
def test_wheel_alone_builds_its_sample_and_renders_a_saved_run(wheel: Path, tmp_path: Path):
    """A new environment that has the wheel, its libraries, and no checkout on its path."""
    venv.create(tmp_path / "venv", with_pip=False)
    new = tmp_path / "venv" / "bin" / "python"
    site = Path(
        subprocess.run(
            [new, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", new, "install", "--quiet", "--no-deps", wheel],
        check=True,
    )
    libraries = Path(pytest.__file__).parent.parent
    (site / "libraries.pth").write_text(f"{libraries}\n")
    # `-S`-like isolation from the checkout: an editable install is a .pth beside the libraries,
    # which is only read from a site folder, not from a path that another .pth adds.
    code = "import dataset_builder, sys; print(dataset_builder.__file__)"
    where = subprocess.run([new, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert where.stdout.strip() == str(site / "dataset_builder" / "__init__.py")

    commands = tmp_path / "venv" / "bin"
    sample = site / "dataset_builder" / "sample"
    subprocess.run([commands / "kosent-data", "build", sample, "out"], check=True, cwd=tmp_path)
    assert (tmp_path / "out" / "report.json").is_file()
    shutil.copytree(ROOT / "tests" / "model_card" / "records" / "adapter", tmp_path / "run")
    subprocess.run([commands / "kosent-card", "render", "run"], check=True, cwd=tmp_path)
    assert (tmp_path / "run" / "README.md").read_text(encoding="utf-8").startswith("---\n")


# Every module of ours, and every command's --help, where asking the network for anything is fatal.
OFFLINE = """
import importlib, pkgutil, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
import dataset_builder, kosent_hub, model_card

names = [
    module.name
    for package in (dataset_builder, kosent_hub, model_card)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
names.remove("kosent_hub.evaluation.inspect_task")  # a task file of inspect, an extra
for name in names:
    importlib.import_module(name)
for name in [name for name in names if hasattr(sys.modules[name], "main")]:
    try:
        sys.modules[name].main(["--help"])
    except SystemExit as end:
        assert end.code == 0, name
print(len(names))
"""


@pytest.mark.slow
def test_no_module_and_no_help_asks_the_network():
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 60
