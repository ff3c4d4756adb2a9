"""TRL's settings as flags: each does what it says, or is refused before anything is loaded."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from kosent_hub.training import run_folder
from kosent_hub.training.recipe import REFUSED
from model_card import records
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.conftest import BASE

TRAIN = [sys.executable, "-m", "kosent_hub.train"]


# A value of each refused setting that the tables do not call fine.
VALUES = {
    "assistant_only_loss": "false", "batch_eval_metrics": "true", "completion_only_loss": "false",
    "dataset_kwargs": '{"skip_prepare_dataset": true}', "dataset_num_proc": "2",
    "dataset_streaming": "true", "dataset_test_split": "test", "dataset_text_field": "text",
    "do_eval": "true", "do_predict": "true", "do_train": "false", "eos_token": "<|eom_id|>",
    "eval_do_concat_batches": "false", "eval_use_gather_object": "true",
    "hub_always_push": "true", "hub_revision": "dev", "ignore_bias_buffers": "true",
    "include_for_metrics": "loss", "label_names": "ids", "length_column_name": "length",
    "lora_task_type": "SEQ_CLS", "model_init_kwargs": '{"use_cache": false}',
    "packing_strategy": "wrapped", "pad_token": "<|eom_id|>", "prediction_loss_only": "false",
    "remove_unused_columns": "false", "resume_from_checkpoint": "nowhere",
    "save_only_model": "true", "trackio_bucket_id": "kosent/curves",
    "trackio_space_id": "kosent/curves", "trackio_static_space_id": "kosent/curves",
    "truncation_mode": "keep_end",
}  # fmt: skip
START = [
    *TRAIN, "--config", "smollm2-135m/cpu", "--model_name_or_path", BASE,
    "--dataset_name", "dataset",
]  # fmt: skip


def asked(run, workplace: Path, nobody: dict[str, str], *flags: str):
    """What a training with these flags says, which must be refused and leave nothing."""
    done = run([*START, *flags, "--output_dir", "unmade"], cwd=workplace, env=nobody)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr and not (workplace / "unmade").exists()
    return done.stderr.splitlines()


def test_a_setting_that_would_do_nothing_is_refused_with_what_to_do(run, workplace, nobody):
    assert VALUES.keys() == REFUSED.keys()
    flags = [part for name, value in VALUES.items() for part in (f"--{name}", value)]
    *lines, last = asked(run, workplace, nobody, *flags)
    assert len(lines) == len(VALUES)
    for number, (line, (name, value)) in enumerate(
        zip(lines, sorted(VALUES.items()), strict=True), start=1
    ):
        assert line.startswith(f"{number}. --{name} "), line
        assert value.strip("{}") in line and "; " in line
    assert f"{len(VALUES)} problems" in last


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--eos_token <|eom_id|>", "--eos_token <|eom_id|>: replies end as the chat template"),
        ("--no_remove_unused_columns", "--remove_unused_columns false: samples have the columns"),
        ("--use_liger_kernel true", "--use_liger_kernel true: its kernels run on GPUs only"),
        ("--activation_offloading true", "--activation_offloading true: it moves memory off a GPU"),
        ("--padding_free true", "--padding_free true is for packed rows here: add --packing true"),
        ("--eval_packing true", "--eval_packing true without packing"),
        ("--router_aux_loss_coef 0.1", f"--router_aux_loss_coef 0.1: {BASE} has no experts"),
        ("--early_stopping_patience 0", "--early_stopping_patience 0: the least is 1 validation"),
        ("--early_stopping_patience 2 --eval_strategy no", "there are eval_strategy no, save_str"),
        ("--early_stopping_patience 2 --eval_steps 15", "no multiple of save_steps 20: add --save"),
        ("--adapter calm", "--adapter is what DPO goes on from: add --trainer dpo, or leave it"),
        ("--datasets x", "--datasets: unknown flag"),
        ("--gradient_accumulation_steps 0", "--gradient_accumulation_steps 0: expected a whole n"),
        ("--chat_template_path none.jinja", "--chat_template_path none.jinja: no such file; name"),
        ("--chat_template_path ORG/NAME", "download it first: hf download ORG/NAME chat_template"),
        (f"--chat_template_path {BASE}", f"a folder, and only the file's text is used; name the "
         f"file {BASE}/chat_template.jinja"),
        ("--chat_template_path cp949.jinja", "cp949.jinja: not UTF-8 at byte 0; save it as UTF-8"),
    ],
)  # fmt: skip
def test_one_such_setting_is_one_line(run, workplace, nobody, flags: str, said: str):
    (workplace / "cp949.jinja").write_bytes("말".encode("cp949"))
    (line,) = asked(run, workplace, nobody, *flags.split())
    assert line.startswith("kosent_hub.train: ") and said in line


def test_rows_without_a_length_are_not_packed(run, workplace, nobody):
    mine = workplace / "packed.yaml"
    mine.write_text("use_peft: true\nuse_cpu: true\nbf16: false\npacking: true\nmax_length: null\n")
    flags = ["--config", "packed.yaml", *START[len(TRAIN) + 2 :], "--output_dir", "unmade"]
    done = run([*TRAIN, *flags], cwd=workplace, env=nobody)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("that is null: add --max_length")


SHORT = [
    *START, "--per_device_train_batch_size", "4", "--max_steps", "2", "--dtype", "float32",
    "--bf16", "false", "--eval_strategy", "no", "--report_to", "none",
]  # fmt: skip


def trained(run, workplace: Path, nobody: dict[str, str], *flags: str) -> Path:
    """The folder of a short training with these flags."""
    folder = workplace / "-".join(flag.strip("-").replace("/", "-") for flag in ["run", *flags])
    done = run([*SHORT, *flags, "--output_dir", folder.name], cwd=workplace, env=nobody)
    assert done.returncode == 0, done.stderr
    return folder


def adapter(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_what_is_done_anyway_may_be_asked_for(run, workplace, nobody):
    plain = trained(run, workplace, nobody)
    for name in ("assistant_only_loss", "completion_only_loss"):
        asked_for = trained(run, workplace, nobody, f"--{name}", "true")
        assert adapter(asked_for) == adapter(plain)
        config = records.read(records.Run, asked_for / records.RUN_PATH).config
        assert config[name] is True
    other_order = trained(run, workplace, nobody, "--data_seed", "7")
    assert adapter(other_order) != adapter(plain)


PLAIN = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def test_a_template_given_is_trained_recorded_and_saved(run, workplace, nobody):
    (workplace / "plain.jinja").write_text(PLAIN, encoding="utf-8")
    flags = ["--chat_template_path", str(workplace / "plain.jinja")]
    shown = run([*SHORT, *flags, "--inspect", "1", "--json"], cwd=workplace, env=nobody)
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    digest = hashlib.sha256(PLAIN.encode()).hexdigest()
    assert document["chat_format"]["template_sha256"] == digest
    (sample,) = document["samples"]
    assert sample["parts"][0]["text"].startswith("[system] ") and sample["same"]
    assert sample["parts"][0]["text"].endswith("\n[assistant] ")

    done = run([*SHORT, *flags, "--output_dir", "other"], cwd=workplace, env=nobody)
    assert done.returncode == 0, done.stderr
    folder = workplace / "other"
    record = records.read(records.Run, folder / records.RUN_PATH)
    assert record.chat_format["template_sha256"] == record.template_sha256 == digest
    assert record.config["chat_template_path"] == "plain.jinja"
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == PLAIN


OWN = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_models_own_code_runs_where_it_is_allowed(run, workplace, nobody):
    own = Path(shutil.copytree(workplace / BASE, workplace / "own"))
    (own / "own.py").write_text(OWN)
    config = json.loads((own / "config.json").read_text())
    config |= {
        "model_type": "own", "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
    }  # fmt: skip
    (own / "config.json").write_text(json.dumps(config))
    flags = [*SHORT, "--model_name_or_path", "own", "--output_dir", "owned"]
    refused = run(flags, cwd=workplace, env=nobody)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("allow it with --trust-remote-code")
    assert not (workplace / "owned" / "kosent").exists()
    allowed = run([*flags, "--trust-remote-code", "true"], cwd=workplace, env=nobody)
    assert allowed.returncode == 0, allowed.stderr
    assert "has no code of its own" not in allowed.stderr
    config = records.read(records.Run, workplace / "owned" / records.RUN_PATH).config
    assert config["trust_remote_code"] is True


def test_own_code_that_fails_is_not_asked_to_be_allowed_once_more(run, workplace, nobody):
    own = Path(shutil.copytree(workplace / BASE, workplace / "old"))
    (own / "own.py").write_text("from transformers import NoSuchThing\n" + OWN)
    config = json.loads((own / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (own / "config.json").write_text(json.dumps(config))
    line = asked(
        run, workplace, nobody, "--model_name_or_path", "old", "--trust_remote_code", "true"
    )[-1]
    assert "old: cannot be loaded, though its own code is allowed (" in line
    assert line.endswith("else take a base that was converted to one")
    assert "then allow it" not in line


def test_the_librarys_class_is_named_where_a_base_has_no_code(run, workplace, nobody):
    shown = run(
        [*START, "--inspect", "1", "--trust_remote_code", "true"], cwd=workplace, env=nobody
    )
    assert shown.returncode == 0, shown.stderr
    assert f"{BASE} has no code of its own; transformers' is used" in shown.stderr


def test_a_base_in_four_bits_names_the_flag(run, workplace, nobody):
    small = Path(shutil.copytree(workplace / BASE, workplace / "small"))
    config = json.loads((small / "config.json").read_text())
    for stored, said in (
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            "small: its weights are in 4 bits (bitsandbytes); add --load_in_4bit true",
        ),
        (
            {"quant_method": "gptq", "bits": 4},
            "small: its weights are quantised (gptq), which is not trained on here; train on the",
        ),
    ):
        written = json.dumps(config | {"quantization_config": stored})
        (small / "config.json").write_text(written)
        line = asked(run, workplace, nobody, "--model_name_or_path", "small")[-1]
        assert said in line


def test_a_checkpoint_without_optimizer_is_not_gone_on_from(tmp_path):
    for name in ("adapter_model.safetensors", "trainer_state.json"):
        (tmp_path / name).touch()
    with pytest.raises(KoSentError, match="has the adapter alone, without optimizer and schedule"):
        run_folder.check_state(tmp_path)
    (tmp_path / "optimizer.pt").touch()
    (tmp_path / "scheduler.pt").touch()
    run_folder.check_state(tmp_path)


@pytest.mark.slow
def test_the_choice_of_experts_has_its_part_of_the_loss(run, workplace, nobody):
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    experts = Path(shutil.copytree(workplace / BASE, workplace / "experts"))
    vocabulary = json.loads((experts / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(experts)
    losses = {}
    for share in (0.0, 0.5):
        flags = [
            *SHORT, "--model_name_or_path", "experts", "--lora_target_modules", "q_proj", "v_proj",
            "--router_aux_loss_coef", str(share), "--logging_steps", "1",
            "--output_dir", f"experts-{share}",
        ]  # fmt: skip
        done = run(flags, cwd=workplace, env=nobody)
        assert done.returncode == 0, done.stderr
        log = (workplace / f"experts-{share}" / records.LOG_HISTORY_PATH).read_text()
        losses[share] = json.loads(log.splitlines()[0])
    added = losses[0.5]["loss"] - losses[0.0]["loss"]
    assert added == pytest.approx(0.5 * losses[0.5]["aux_loss"], abs=1e-4)
