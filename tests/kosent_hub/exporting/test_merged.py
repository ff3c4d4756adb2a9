"""A merged folder: it answers as base and adapter do, and is whole under its name or not there."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from model_card.publishing import front_matter
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.conftest import BASE
from tests.kosent_hub.exporting.conftest import write_run


def located(place: Path, monkeypatch: pytest.MonkeyPatch):
    """The run in `place`, from where its base has the name that the adapter gives it."""
    from kosent_hub.models.locate import ModelRef, locate

    monkeypatch.chdir(place)
    return locate(ModelRef("run"))


def logits(model):
    import torch

    ids = torch.arange(40)[None]
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()


def test_a_merged_folder_needs_nothing_else(run, nobody, place: Path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    command = ["kosent-export", "run", "--merged", "merged"]
    done = run([*command, "--json"], cwd=place, env=nobody)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["kind"] == "float32" and 0 < said["change"]["largest"] < 1e-3
    assert said["change"]["mean"] <= said["change"]["largest"] < said["change"]["adapter_mean"]
    assert "exported to merged; next: kosent-chat merged" in done.stderr

    merged = place / "merged"
    base = AutoModelForCausalLM.from_pretrained(place / BASE)
    whole = logits(AutoModelForCausalLM.from_pretrained(merged))
    bare = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, str(place / "run")))
    assert (whole - adapted).abs().max() < 1e-3 < (bare - adapted).abs().max()
    for name in ("tokenizer.json", "chat_template.jinja", "kosent/run.json"):
        assert (merged / name).read_bytes() == (place / "run" / name).read_bytes()
    card = front_matter.read((merged / "README.md").read_text("utf-8"))
    assert (card["base_model"], card["base_model_relation"]) == (BASE, "merge")
    assert str(place) not in "".join(p.read_text("utf-8") for p in merged.glob("*.json"))
    hidden = [path.name for path in place.iterdir() if path.name.startswith(".")]
    assert hidden == []

    again = run(command, cwd=place, env=nobody)
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1] == (
        "kosent-export: merged: already exists; name another folder, or add --overwrite"
    )


def test_what_was_written_before_an_end_is_not_written_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from transformers import AutoModelForCausalLM

    from kosent_hub.models.weights.merged import write_merged

    folder = tmp_path / "merged"
    found, shards = located(place, monkeypatch), []

    def full(draft: Path) -> None:
        shards.extend((p.name, p.stat().st_mtime_ns) for p in draft.glob("*.safetensors"))
        next(draft.glob("*-00002-of-*")).unlink()
        raise OSError(28, "No space left on device", str(draft / "tokenizer.json"))

    with pytest.raises(KoSentError, match="no space left on device; make room there"):
        write_merged(found, folder, full, shard_size=100_000)
    assert len(shards) > 3 and not folder.exists()
    done = write_merged(found, folder, lambda draft: None, shard_size=100_000)
    now = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.safetensors")}
    assert done.shards == len(now) == len(shards)
    same = [name for name, written in shards if now[name] == written]
    assert len(same) == len(shards) - 1
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert [p.name for p in tmp_path.iterdir()] == ["merged"]


# How far the peak of a merge is above what was there before it. A small one goes first, for what
# the libraries' code takes once it has run.
PEAK = """
import os, re, sys
from pathlib import Path
from kosent_hub.models.locate import ModelRef, locate
from kosent_hub.models.weights.merged import write_merged
def resident(name):
    return 1024 * int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def merge(place):
    os.chdir(place)
    found = locate(ModelRef("run"))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here
    before = resident("VmRSS")
    write_merged(found, Path("merged"), lambda draft: None, shard_size=int(sys.argv[3]))
    return resident("VmHWM") - before
merge(sys.argv[1])
print(merge(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks as Linux counts them")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_holds_a_shard_more_than_the_model(
    run, nobody, tiny_llama: Path, tmp_path: Path, dtype: str
):
    """In bfloat16 too, the model is in float32 while it is merged, where there is room for that."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny_llama)
    config.update({"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 10})
    config.update({"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64})
    shutil.copytree(tiny_llama, tmp_path / BASE)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(tmp_path / BASE)
    write_run(tmp_path, BASE)
    small = tmp_path / "small"
    shutil.copytree(tiny_llama, small / BASE)
    write_run(small, BASE)
    size, shard = 4 * model.num_parameters(), 16_000_000
    assert size > 6 * shard
    command = [sys.executable, "-c", PEAK, str(small), str(tmp_path), str(shard)]
    done = run(command, cwd=tmp_path, env=nobody, script=True)
    assert done.returncode == 0, done.stderr
    more = int(done.stdout.split()[-1]) - size
    print(f"{dtype}: {size / 1e6:.0f} MB in memory, peak {more / 1e6:.0f} MB above that")
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) > 3
    # What a forward pass needs, and the allocator keeps.
    assert more < shard + 16_000_000


@pytest.mark.parametrize(("std", "dtype"), [(0.5, "bfloat16"), (2e-4, "float32")])
def test_a_number_format_that_keeps_the_adapter(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    std: float,
    dtype: str,
):
    """A base in bfloat16, and an adapter that is large or smaller than half its last bit."""
    from transformers import AutoModelForCausalLM

    from kosent_hub.models.weights.merged import write_merged

    shutil.copytree(place / BASE, tmp_path / BASE)
    AutoModelForCausalLM.from_pretrained(place / BASE).bfloat16().save_pretrained(tmp_path / BASE)
    write_run(tmp_path, BASE, std)
    done = write_merged(located(tmp_path, monkeypatch), tmp_path / "merged", lambda draft: None)
    assert done.dtype == dtype and done.change.is_small
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == dtype
    told = re.search("in bfloat16, .* would round the adapter away", capsys.readouterr().err)
    assert bool(told) == (dtype == "float32")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", "mine", "exists and is no model's folder"),
        ("adapter_config.json", "{}", "exists and is no model's folder"),
    ],
)
def test_other_peoples_folders_are_not_replaced(tmp_path: Path, name, content, said):
    from kosent_hub.models.weights.merged import refuse_existing

    (tmp_path / name).write_text(content)
    with pytest.raises(KoSentError, match=said):
        refuse_existing(tmp_path, overwrite=True)
