"""Recipes: every packaged one parses strictly, and a mistake is one line."""

import dataclasses
import os
import re
from pathlib import Path

import pytest
import yaml

from kosent_hub.train import main
from kosent_hub.training import PlanOptions, plan, recipe
from model_card.licenses import LICENSE_NAMES, known_license, own_license
from model_card.publishing.errors import KoSentError


@pytest.mark.parametrize("name", recipe.packaged())
def test_packaged_recipes_parse_strictly_and_give_a_reason_per_value(name: str):
    settings = recipe.parse(
        ["--config", name, "--dataset_name", "d", "--use_cpu", "true", "--fp16", "false"]
    )
    assert settings.recipe == name and settings.model.use_peft
    assert recipe.load(name).keys() <= settings.asked
    assert settings.training.eval_steps % settings.training.save_steps == 0
    lines = recipe.find(name).read_text().splitlines()
    unexplained = [line for line in lines if line and "#" not in line]
    assert unexplained == []


def test_packaged_recipes_say_their_planned_peak_and_their_licence():
    for name in recipe.packaged():
        text = recipe.find(name).read_text()
        planned = plan(PlanOptions(name))
        base = recipe.load(name)["model_name_or_path"]
        assert f"# Planned peak: {planned.peak_gib:.2f} GiB.\n" in text, name
        own = own_license(base)
        title = own.title if own else LICENSE_NAMES[known_license(base)][0]
        assert f"# Licence: {title}" in text, name
        assert own is None or own.url in text, name
        assert any(own.url in note for note in planned.notes) if own else planned.notes == []
        size = re.search(r"-(\d+)gb$", name)
        gib = {"8": 7.6, "16": 15.5, "24": 22.0, "80": 79.1}[size[1]] if size else None
        assert gib is None or planned.peak_gib < gib, name


def test_a_recipe_that_extends_another_has_its_values_but_for_its_own(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: llama-3.1-8b/qlora-8gb\nlora_r: 4\n")
    (tmp_path / "less.yaml").write_text("extends: mine.yaml\nmax_length: 256\n")
    packaged = recipe.load("llama-3.1-8b/qlora-8gb")
    found = recipe.load(str(tmp_path / "less.yaml"))
    assert found == packaged | {"lora_r": 4, "max_length": 256} and "extends" not in packaged
    (tmp_path / "mine.yaml").write_text("extends: less.yaml\n")
    with pytest.raises(KoSentError, match=r"less\.yaml: extends itself"):
        recipe.load(str(tmp_path / "less.yaml"))
    (tmp_path / "mine.yaml").write_text("extends: llama-3.1-8b/qlora-9gb\n")
    with pytest.raises(KoSentError, match=r"did you mean llama-3\.1-8b/qlora-8gb"):
        recipe.load(str(tmp_path / "mine.yaml"))


def test_accelerate_configs_are_read_by_accelerate():
    from accelerate.commands.config.config_args import load_config_from_file

    configs = sorted((recipe.RECIPES / "accelerate").glob("*.yaml"))
    assert configs
    for path in configs:
        assert load_config_from_file(str(path)).num_processes >= 1


def test_flag_beats_recipe_beats_default(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("learning_rate: 1.0e-4\nlora_r: 4\nuse_cpu: true\nbf16: false\n")
    settings = recipe.parse(["--config", str(mine), "--lora_r", "32"])
    assert (settings.training.learning_rate, settings.model.lora_r) == (1e-4, 32)
    assert settings.training.max_length == 1024
    assert settings.asked == {"learning_rate", "lora_r", "use_cpu", "bf16"}


def test_fields_are_flags_of_the_same_names():
    fields = {
        "lora_r": 16, "bf16": True, "learning_rate": 2e-4, "lora_target_modules": ["q", "v"],
        "gradient_checkpointing_kwargs": {"use_reentrant": False}, "output_dir": Path("run"),
    }  # fmt: skip
    assert recipe.as_flags(fields) == [
        "--lora_r", "16", "--bf16", "true", "--learning_rate", "0.0002",
        "--lora_target_modules", "q", "v",
        "--gradient_checkpointing_kwargs", '{"use_reentrant": false}', "--output_dir", "run",
    ]  # fmt: skip
    with pytest.raises(KoSentError, match="max_length=None: no flag says that"):
        recipe.as_flags({"max_length": None})


def test_a_tokens_setting_is_kept_from_the_trainer_and_from_what_is_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "as it was")
    settings = recipe.parse(
        ["--config", "smollm2-135m/cpu", "--bf16", "false", "--hub_token", "hf_secret"]
    )
    assert (settings.token, settings.training.hub_token) == ("hf_secret", None)
    assert os.environ["HF_TOKEN"] == "as it was" and "hf_secret" not in repr(settings)


def test_every_setting_whose_fate_is_stated_exists():
    from trl import ModelConfig, ScriptArguments, SFTConfig

    kinds = (ScriptArguments, SFTConfig, ModelConfig, recipe.ExtraArguments)
    known = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    known.add("logging_dir")  # the first releases of transformers 5 have it
    assert known >= recipe.ALWAYS_RECORDED | recipe.NEVER_RECORDED | recipe.MAY_CHANGE_ON_RESUME
    assert not recipe.ALWAYS_RECORDED & recipe.NEVER_RECORDED


@pytest.mark.parametrize(
    ("lines", "flags", "said"),
    [
        (
            {"learnig_rate": 1.0e-4},
            [],
            "mine.yaml: unknown key 'learnig_rate'; did you mean learning_rate?",
        ),
        ({"lora_r": 1.5}, [], "mine.yaml: lora_r is 1.5, expected"),
        ({"learning_rate": "fast"}, [], "--learning-rate: invalid float value: 'fast'"),
        ({"packing": 3}, [], "mine.yaml: packing is 3, expected"),
        ({}, ["--lora_ranc", "3"], "--lora_ranc: unknown flag; did you mean lora_r"),
        ({}, ["--max_steps", "x"], "--max-steps: invalid int value: 'x'"),
        ({"env": ["A=1"]}, [], "mine.yaml: env is ['A=1'], expected `NAME: value` lines"),
        ({}, ["--push_to_hub", "true"], "--push_to_hub needs a name: add --hub_model_id ORG/NAME"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, lines, flags, said):
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({"use_cpu": True, "bf16": False, **lines}))
    assert main(["--config", str(mine), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kosent_hub.train: ") and said in line


def test_no_recipe_at_all_names_those_there_are(capsys):
    assert main(["--learning_rate", "1"]) == 2
    assert (
        "give one --config RECIPE; packaged ones: exaone-4.0-1.2b/lora-8gb, gemma-3-1b/lora-8gb, "
        in capsys.readouterr().err
    )
