"""Recipes: every packaged one parses strictly, and a mistake is one line."""

import pytest
import yaml

from kosent_hub.train import main
from kosent_hub.training import recipe


@pytest.mark.parametrize("name", recipe.packaged())
def test_packaged_recipes_parse_strictly_and_give_a_reason_per_value(name: str):
    settings = recipe.parse(
        ["--config", name, "--dataset_name", "d", "--use_cpu", "true", "--fp16", "false"]
    )
    assert settings.model.use_peft and settings.training.max_length in (512, 1024)
    batch = (
        settings.training.per_device_train_batch_size
        * settings.training.gradient_accumulation_steps
    )
    assert batch == (4 if "cpu" in name else 16)
    lines = recipe.find(name).read_text().splitlines()
    unexplained = [line for line in lines if line and "#" not in line]
    assert unexplained == []


def test_accelerate_configs_are_read_by_accelerate():
    from accelerate.commands.config.config_args import load_config_from_file

    for path in sorted((recipe.RECIPES / "accelerate").glob("*.yaml")):
        assert load_config_from_file(str(path)).num_processes >= 1
    assert len(list((recipe.RECIPES / "accelerate").glob("*.yaml"))) == 5


def test_flag_beats_recipe_beats_default(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("learning_rate: 1.0e-4\nlora_r: 4\nuse_cpu: true\nbf16: false\n")
    settings = recipe.parse(["--config", str(mine), "--lora_r", "32"])
    assert (settings.training.learning_rate, settings.model.lora_r) == (1e-4, 32)
    assert settings.training.max_length == 1024
    assert settings.asked == {"learning_rate", "lora_r", "use_cpu", "bf16"}


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
        "give one --config RECIPE; packaged ones: llama-3.1-8b/lora-a100-reference"
        in capsys.readouterr().err
    )
