"""What another machine installs (a Space, a job): this checkout as a wheel, and its versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution
from pathlib import Path

import kosent_hub
from model_card.publishing.errors import KoSentError

ROOMS = ("dataset_builder", "kosent_hub", "model_card")
BESIDE = ("LICENSE", "README.md", "pyproject.toml")
# Seconds since 1970, the earliest that a zip file can hold: the same sources give the same bytes.
EPOCH = "315532800"


def build_wheel(folder: Path, flag: str, extra: str = "") -> Path:
    """The wheel of the checkout that this code runs from, written into the folder.

    `flag` is what asks for it; `extra` what that needs of pyproject.toml, "" for none. Raises
    KoSentError where the code runs from no checkout, or pip cannot build it.
    """
    checkout = Path(kosent_hub.__file__).parents[1]
    if not all((checkout / name).is_file() for name in BESIDE):
        raise KoSentError(
            flag,
            "pushes a wheel of this project's checkout, and kosent-hub is installed without one",
            f"run it where `{_install(extra)}` was run in a checkout",
        )
    # A copy, because pip would leave a `build` there whose files get into the next wheel.
    source = folder / "source"
    for room in ROOMS:
        shutil.copytree(
            checkout / room, source / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in BESIDE:
        shutil.copy(checkout / name, source)
    # With the setuptools that is installed, if it will do: another one would be downloaded.
    isolation = ["--no-build-isolation"] if _has_setuptools() else []
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation]
    done = subprocess.run(
        [*command, "-w", folder, source],
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise KoSentError(checkout, f"pip could not build its wheel ({last})")
    (wheel,) = folder.glob("*.whl")
    return wheel


def pinned(wheel: Path, extra: str = "") -> list[str]:
    """The installed versions of all that the wheel needs with this extra, as requirements."""
    (info,) = (p for p in zipfile.Path(wheel).iterdir() if p.name.endswith(".dist-info"))
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = list(_requirements(PathDistribution(info), ("", extra)))
    for name, _ in todo:
        if _installed(name) is None:
            raise KoSentError(
                name, "is not installed, so there is no version to pin", _install(extra)
            )
    while todo:
        name, of_package = todo.pop()
        found = _installed(name)
        # What only another platform needs is not here; pip finds it there.
        if found is None or (name, of_package) in seen:
            continue
        seen.add((name, of_package))
        versions[name] = found.version.partition("+")[0]
        todo += _requirements(found, (of_package,))
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def _install(extra: str) -> str:
    return f"pip install -e '.[{extra}]'" if extra else "pip install -e ."


def _requirements(package: Distribution, extras: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(name, extra) of what a package needs here with these extras; "" is none."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in package.requires or ():
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            for extra in ("", *sorted(needed.extras)):
                yield canonicalize_name(needed.name), extra


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _has_setuptools() -> bool:
    """Whether the setuptools that is installed builds this project (pyproject.toml)."""
    found = _installed("setuptools")
    return found is not None and int(found.version.partition(".")[0]) >= 77
