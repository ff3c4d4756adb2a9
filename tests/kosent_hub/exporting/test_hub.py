"""An export pushed to a repo of its own, scored against its adapter; and training's own push."""

import json
import shutil
from pathlib import Path

import pytest

from model_card.publishing import front_matter
from tests.kosent_hub import dialogues
from tests.kosent_hub.conftest import BASE
from tests.kosent_hub.exporting.conftest import write_run


@pytest.mark.slow
def test_an_export_is_scored_against_its_adapter_and_pushed(
    run, hub, tiny_llama: Path, tmp_path: Path
):
    shutil.copytree(tiny_llama, tmp_path / BASE)
    write_run(tmp_path, BASE)
    dialogues.write_dataset(tmp_path / "chat", 8)
    env = hub.env() | {"OMP_NUM_THREADS": "1"}
    flags = "--dataset chat --embedder none --max-new-tokens 8 --limit 4 --no-safety"
    scored = run(["kosent-eval", "--model", "run", *flags.split()], cwd=tmp_path, env=env)
    assert scored.returncode == 0, scored.stderr

    command = "kosent-export run --merged merged --repo-id kosent/tiny-merged --score chat --json"
    done = run(command.split(), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "scored as the adapter was" in done.stderr
    scores = json.loads(done.stdout)["scores"]
    assert scores["settings"]["limit"] == 4 and scores["settings"]["embedder"] == "none"
    assert scores["baseline"]["model"]["adapter"] and not scores["model"]["adapter"]
    # The same replies but for rounding, so no difference that anything could be made of.
    assert abs(scores["baseline"]["comparison"]["perplexity"]["relative"]) < 1e-3

    files = hub.files("kosent/tiny-merged")
    assert {"model.safetensors", "config.json", "tokenizer.json", "kosent/run.json"} < files.keys()
    (record,) = [name for name in files if name.startswith("kosent/eval/")]
    assert json.loads(files[record])["model"]["id"] == "merged"
    card = files["README.md"].decode()
    assert front_matter.read(card)["base_model_relation"] == "merge"
    assert "| Compared with | This model | Difference |" in card
    assert hub.is_private("kosent/tiny-merged")
    assert not [name for name in files if "adapter" in name]

    chat = "kosent-chat merged --terminal --temperature 0 --max-new-tokens 4"
    talked = run(chat.split(), cwd=tmp_path, env=env, input="안녕\n")
    assert talked.returncode == 0, talked.stderr


@pytest.mark.slow
def test_the_merge_of_a_push_is_that_of_an_export(run, hub, tiny_llama: Path, tmp_path: Path):
    hub.create(BASE, files={p.name: p for p in tiny_llama.iterdir() if p.is_file()})
    shutil.copytree(tiny_llama, tmp_path / BASE)
    write_run(tmp_path, BASE)
    pushed = run(
        ["kosent-train", "push", "run", "--repo-id", "kosent/tiny", "--merged"],
        cwd=tmp_path,
        env=hub.env(),
    )
    assert pushed.returncode == 0, pushed.stderr
    exported = run(["kosent-export", "run", "--merged", "merged"], cwd=tmp_path, env=hub.env())
    assert exported.returncode == 0, exported.stderr
    files = hub.files("kosent/tiny-merged")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert files[name] == (tmp_path / "merged" / name).read_bytes()


@pytest.mark.parametrize(
    ("base", "licence", "there", "said"),
    [
        (
            "meta-llama/Llama-3.2-1B-Instruct",
            None,
            None,
            "--repo-id kosent/tiny: the name of a model made from Llama must begin with “Llama”; "
            "call it kosent/Llama-tiny",
        ),
        (
            BASE,
            "cc-by-nd-4.0",
            None,
            f"{BASE}: its licence cc-by-nd-4.0 forbids to pass on what is made from it; "
            "leave --repo-id out",
        ),
        (
            BASE,
            "apache-2.0",
            "adapter_config.json",
            "--repo-id kosent/tiny: that repo holds adapter_config.json, and its card is about "
            "that; give the export a repo of its own",
        ),
    ],
)
def test_what_may_not_be_pushed_is_refused_before_it_is_made(
    run, hub, tiny_llama: Path, tmp_path: Path, base: str, licence, there, said: str
):
    shutil.copytree(tiny_llama, tmp_path / base)
    write_run(tmp_path, base)
    if licence is not None:
        hub.create(base, files={"README.md": f"---\nlicense: {licence}\n---\n"})
    if there is not None:
        hub.create("kosent/tiny", files={there: "{}"})
    command = ["kosent-export", "run", "--merged", "merged", "--repo-id", "kosent/tiny"]
    done = run(command, cwd=tmp_path, env=hub.env())
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"kosent-export: {said}"
    assert not list(tmp_path.glob("*merged*"))
    assert hub.exists("kosent/tiny") == (there is not None)
