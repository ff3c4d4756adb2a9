"""A finished run of a tiny base, in a folder to export from."""

import json
import shutil
from pathlib import Path

import pytest

from tests.kosent_hub.adapters import write_adapter
from tests.kosent_hub.conftest import BASE, SYSTEM
from tests.model_card.cards import RECORDS


def write_run(place: Path, base: str, std: float = 0.5) -> Path:
    """`place/run`: an adapter of the model in `place/base`, with a run's tokenizer and records."""
    run = write_adapter(place / base, place / "run", std)
    settings = json.loads((run / "adapter_config.json").read_text("utf-8"))
    settings["base_model_name_or_path"] = base
    (run / "adapter_config.json").write_text(json.dumps(settings), "utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(place / base / name, run)
    record = json.loads((RECORDS / "adapter" / "kosent" / "run.json").read_text("utf-8"))
    record |= {"model_name": "tiny-KoSent", "system_prompt": SYSTEM, "chat_format": {}}
    record["base_model"] = {"id": base, "revision": None, "local": True}
    (run / "kosent").mkdir()
    (run / "kosent" / "run.json").write_text(json.dumps(record), "utf-8")
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A folder with `kosent/tiny-llama` and `run`, an adapter of it, to run commands in."""
    folder = tmp_path_factory.mktemp("export")
    shutil.copytree(tiny_llama, folder / BASE)
    write_run(folder, BASE)
    return folder
