"""The trainer by its front door: what a run leaves, and that it survives being stopped."""

import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from tokenizers import Tokenizer

from model_card import records
from tests.kosent_hub.conftest import BASE, SYSTEM, USER, dialogue
from tests.support import fork_server
from tests.support.launchers import LAUNCHERS, forks

# Two epochs of five steps: dropout and a shuffled second epoch have to come back as they were.
FLAGS = (
    f"--config smollm2-135m/cpu --model_name_or_path {BASE} --dataset_name dataset "
    "--per_device_train_batch_size 4 --num_train_epochs 2 --max_steps -1 --lora_dropout 0.1 "
    "--logging_steps 1 --save_steps 2 --eval_steps 5 --dtype float32 --bf16 false"
).split()
TRAIN = [sys.executable, "-m", "kosent_hub.train", *FLAGS]


@pytest.fixture(scope="module")
def trained(run, workplace: Path, nobody: dict[str, str]) -> Path:
    """The folder of an undisturbed run; test_the_way.py has one by `accelerate launch`."""
    done = run([*TRAIN, "--output_dir", "calm"], cwd=workplace, env=nobody)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "calm\n"
    (workplace / "calm.stderr").write_text(done.stderr, encoding="utf-8")
    return workplace / "calm"


def weights(folder: Path) -> dict[str, list[float]]:
    with safe_open(folder / "adapter_model.safetensors", framework="numpy") as file:
        return {name: file.get_tensor(name).ravel().tolist() for name in file.keys()}  # noqa: SIM118


def test_a_run_leaves_what_can_be_pushed_and_nothing_of_this_machine(
    trained: Path, workplace: Path
):
    files = {str(p.relative_to(trained)) for p in trained.rglob("*") if p.is_file()}
    kept = {f for f in files if not f.startswith(("checkpoint-", "runs/", "samples/"))}
    assert kept == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja",
        "kosent/log_history.jsonl", "kosent/plots/learning_rate.png", "kosent/plots/loss.png",
        "kosent/plots/mean_token_accuracy.png", "kosent/run.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    for name in kept - {"adapter_model.safetensors"}:
        text = (trained / name).read_bytes()
        assert str(workplace).encode() not in text, name
        assert b"cuda" not in text.lower() or name.endswith("json"), name
    config = json.loads((trained / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (BASE, None)
    template = "chat_template.jinja"
    assert (trained / template).read_bytes() == (workplace / BASE / template).read_bytes()


def test_each_validation_shows_replies_and_keeps_those_to_the_corpus_in_the_folder(
    trained: Path, workplace: Path
):
    said = (workplace / "calm.stderr").read_text(encoding="utf-8")
    assert said.count("replies after step 5:") == said.count("replies after step 10:") == 1
    assert said.count("  user: 시험에 또 떨어졌어.") == 2
    assert {p.name for p in (trained / "samples").iterdir()} == {"step-5.md", "step-10.md"}
    page = (trained / "samples" / "step-10.md").read_text(encoding="utf-8")
    asked = [dialogue(number)[1]["content"] for number in range(20, 23)]
    assert [line for line in page.splitlines() if line.startswith("user: ")] == [
        f"user: {text}" for text in asked
    ]
    assert not [text for text in asked if text in said]


@pytest.mark.slow
def test_without_progress_it_stops_early_and_keeps_the_best(
    run, workplace: Path, nobody: dict[str, str]
):
    flags = [
        "--max_steps", "60", "--learning_rate", "5e-2", "--lr_scheduler_type", "constant",
        "--eval_steps", "2", "--lora_dropout", "0", "--save_total_limit", "2",
        "--early_stopping_patience", "3", "--output_dir", "early",
    ]  # fmt: skip
    done = run(["kosent-train", *FLAGS, *flags], cwd=workplace, env=nobody)
    assert done.returncode == 0, done.stderr
    folder = workplace / "early"
    lines = (folder / records.LOG_HISTORY_PATH).read_text().splitlines()
    losses = {e["step"]: e["eval_loss"] for e in map(json.loads, lines) if "eval_loss" in e}
    best = min(losses, key=losses.__getitem__)
    found = records.read(records.Run, folder / records.RUN_PATH).training
    assert (found.kept_step, found.steps) == (best, best + 6) and found.steps < 60
    last = folder / f"checkpoint-{best + 6}"
    assert weights(folder) == weights(folder / f"checkpoint-{best}") != weights(last)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"검증 손실이 가장 낮았던 {best}스텝의 가중치를 씀" in card


FROM_PYTHON = """
import json, sys
from kosent_hub.training import train
run = train("smollm2-135m/cpu", **json.loads(sys.argv[1]))
print(run.training.steps, run.model_name)
"""


def test_from_python_it_trains_what_the_command_trains(
    run, trained: Path, workplace: Path, nobody: dict[str, str]
):
    fields = {
        "model_name_or_path": BASE, "dataset_name": "dataset", "per_device_train_batch_size": 4,
        "num_train_epochs": 2, "max_steps": -1, "lora_dropout": 0.1, "logging_steps": 1,
        "save_steps": 2, "eval_steps": 5, "dtype": "float32", "bf16": False, "output_dir": "called",
    }  # fmt: skip
    script = [sys.executable, "-c", FROM_PYTHON, json.dumps(fields)]
    done = run(script, cwd=workplace, env=nobody, script=True)
    assert done.stdout == "10 called\n", done.stderr
    called = workplace / "called"
    assert weights(called) == weights(trained)
    ours, theirs = (
        json.loads((folder / records.RUN_PATH).read_text()) for folder in (called, trained)
    )
    assert ours.pop("command") == theirs.pop("command").replace("calm", "called")
    for record in (ours, theirs):
        del record["model_name"], record["created"], record["training"]["seconds"]
        del record["hardware"]["peak_memory_gib"]
    assert ours == theirs


def test_only_replies_and_their_ends_are_learned_and_counted(trained: Path, workplace: Path):
    tokenizer = Tokenizer.from_file(str(workplace / BASE / "tokenizer.json"))
    dialogues = [dialogue(n) for n in range(20)]
    learned = sum(
        len(tokenizer.encode(m["content"]).ids) + 1
        for messages in dialogues for m in messages if m["role"] == "assistant"
    )  # fmt: skip
    around = sum(
        len(tokenizer.encode(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n").ids)
        for messages in dialogues for m in messages
    )  # fmt: skip
    run = records.read(records.Run, trained / records.RUN_PATH)
    assert run.training.learned_tokens == 2 * learned
    # What the template writes after the last end of turn, a newline, is left out.
    assert run.training.tokens == 2 * (around - len(dialogues))
    assert (run.training.steps, run.training.samples, run.training.epochs) == (10, 40, 2.0)


def test_the_record_tells_the_run(trained: Path):
    run = records.read(records.Run, trained / records.RUN_PATH)
    assert run.base_model == records.Repo(BASE, None, local=True)
    density = run.dataset.density
    assert run.dataset == records.Dataset(
        "dataset", None, local=True, rows={"train": 20, "validation": 3}, density=density
    )
    # A byte-level tokenizer of a few merges: about a token a byte.
    assert density["tokens_per_byte"] <= 1 < density["tokens_per_character"] < 3
    assert (run.model_name, run.recipe, run.system_prompt) == ("calm", "smollm2-135m/cpu", SYSTEM)
    assert run.parameters["trainable"] == 2 * 16 * (3 * 64 + 64 + 2 * (64 + 32) + 3 * (64 + 128))
    assert run.command == "kosent-train " + " ".join([*FLAGS, "--output_dir", "calm"])
    assert run.config["lora_dropout"] == 0.1 and "output_dir" not in run.config
    assert {"loss", "mean_token_accuracy", "eval_loss"} < run.training.final.keys()


def test_curves_are_logged_for_the_card_and_for_tensorboard(trained: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = (trained / records.LOG_HISTORY_PATH).read_text().splitlines()
    steps = [entry["step"] for entry in map(json.loads, lines) if "loss" in entry]
    assert steps == list(range(1, 11))
    (events,) = (trained / "runs").iterdir()
    board = EventAccumulator(str(events)).Reload()
    wanted = {"train/loss", "train/mean_token_accuracy", "train/learning_rate"}
    assert wanted <= set(board.Tags()["scalars"])
    assert len(board.Scalars("train/loss")) == 10


def test_curves_are_pushed_without_the_name_of_the_host_or_any_text(
    run, hub, trained: Path, tmp_path: Path
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert [p for p in (trained / "runs").rglob("*") if socket.gethostname() in p.name]
    folder, said = tmp_path / "calm", USER[0]
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    log = folder / records.LOG_HISTORY_PATH
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    entries[0] |= {"said": said, "where": str(folder)}
    log.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))

    def push() -> bytes:
        command = ["kosent-train", "push", str(folder), "--repo-id", "kosent/calm"]
        done = run(command, cwd=tmp_path, env=hub.env())
        assert done.returncode == 0, done.stderr
        files = hub.files("kosent/calm")
        (name,) = [name for name in files if "tfevents" in name]
        assert name == "runs/kosent/events.out.tfevents"
        return files[name]

    data = push()
    for text in (socket.gethostname(), said, str(tmp_path), "calm", BASE):
        assert text.encode() not in data
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "events.out.tfevents").write_bytes(data)
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    for tag, key in (("train/loss", "loss"), ("eval/loss", "eval_loss")):
        logged = [(e["step"], pytest.approx(e[key])) for e in entries if key in e]
        assert [(point.step, point.value) for point in board.Scalars(tag)] == logged
    assert not [tag for tag in board.Tags()["scalars"] if "second" in tag or "runtime" in tag]
    assert board.Tags()["tensors"] == []
    ends = records.read(records.Run, trained / records.RUN_PATH).created
    assert board.Scalars("train/loss")[-1].wall_time == datetime.fromisoformat(ends).timestamp()
    before = hub.head("kosent/calm")
    assert push() == data and hub.head("kosent/calm") == before


def started(workplace: Path, env: dict[str, str], until: Path) -> fork_server.Process:
    """A training process that has just made `until`."""
    process = fork_server.start([*TRAIN, "--output_dir", "stormy"], cwd=workplace, env=env)
    wait_for(until, process)
    return process


def wait_for(path: Path, process: fork_server.Process) -> None:
    """Return once the process has made `path`."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_interrupted_it_ends_where_an_undisturbed_run_does(
    run, trained: Path, workplace: Path, nobody: dict[str, str]
):
    stormy = workplace / "stormy"
    process = started(workplace, nobody, stormy / "checkpoint-2" / "kosent-checkpoint.json")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the same command goes on from there" in said.splitlines()[-1]

    process = started(workplace, nobody, stormy / "checkpoint-8")
    process.kill()
    process.communicate()
    # As if killed while this one was written: it must not be taken for whole.
    (stormy / "checkpoint-8" / "kosent-checkpoint.json").unlink(missing_ok=True)

    changed = run(
        [*TRAIN, "--output_dir", "stormy", "--learning_rate", "3e-4"], cwd=workplace, env=nobody
    )
    assert changed.returncode == 2
    assert "learning_rate 0.002 -> 0.0003" in changed.stderr.splitlines()[-1]

    done = run([*TRAIN, "--output_dir", "stormy"], cwd=workplace, env=nobody)
    assert done.returncode == 0, done.stderr
    assert "going on from stormy/checkpoint-6" in done.stderr
    assert weights(stormy) == weights(trained)
    calm, storm = (
        records.read(records.Run, f / records.RUN_PATH).training for f in (trained, stormy)
    )
    assert (storm.tokens, storm.learned_tokens) == (calm.tokens, calm.learned_tokens)

    again = run([*TRAIN, "--output_dir", "stormy"], cwd=workplace, env=nobody)
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith(
        "kosent_hub.train: stormy: already holds a finished run"
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_train_what_one_trains(
    run, workplace: Path, nobody: dict[str, str], launcher
):
    flags = [*FLAGS, "--lora_dropout", "0", "--report_to", "none", "--eval_strategy", "no"]
    alone, together = (f"{number}-by-{launcher.__name__}" for number in ("one", "two"))
    one = run(
        ["python", "-m", "kosent_hub.train", *flags, "--output_dir", alone],
        cwd=workplace,
        env=nobody,
    )
    assert one.returncode == 0, one.stderr
    half = [*flags, "--per_device_train_batch_size", "2", "--output_dir", together]
    launcher(["-m", "kosent_hub.train", *half], env=nobody, cwd=workplace)
    ones, twos = weights(workplace / alone), weights(workplace / together)
    furthest = max(abs(a - b) for name in ones for a, b in zip(ones[name], twos[name], strict=True))
    moved = max(abs(value) for name in ones if "lora_B" in name for value in ones[name])
    assert furthest < 1e-3 * moved
    one, two = (
        records.read(records.Run, workplace / name / records.RUN_PATH) for name in (alone, together)
    )
    assert two.hardware.processes == 2
    assert two.training.effective_batch_size == one.training.effective_batch_size == 4
    assert two.training.learned_tokens == one.training.learned_tokens


FROM_PYTHON_TOGETHER = """
import json, sys
from pathlib import Path
from kosent_hub.training import train
run = train("smollm2-135m/cpu", **json.loads(sys.argv[1]))
whole = Path("python/README.md").exists() and not Path("python/kosent/unfinished.json").exists()
# In one piece: the other process may write at the same time.
sys.stdout.write(f"{run.training.steps} steps, whole: {whole}\\n")
"""


@pytest.mark.slow
def test_from_python_each_process_returns_when_the_run_is_whole(
    workplace: Path, nobody: dict[str, str]
):
    fields = {
        "model_name_or_path": BASE, "dataset_name": "dataset", "per_device_train_batch_size": 2,
        "max_steps": 2, "dtype": "float32", "bf16": False, "eval_strategy": "no",
        "report_to": "none", "output_dir": "python",
    }  # fmt: skip
    script = ["-c", FROM_PYTHON_TOGETHER, json.dumps(fields)]
    folder = workplace / "python"
    unfinished = folder / "kosent" / "unfinished.json"
    process = fork_server.start([sys.executable, *script], cwd=workplace, env=nobody, script=True)
    wait_for(unfinished, process)
    # Of a run in two processes.
    two = ('"effective_batch_size": 2', '"effective_batch_size": 4')
    note = unfinished.read_text(encoding="utf-8").replace(*two).encode()
    process.kill()
    process.communicate()

    said = "2 steps, whole: True\n" * 2
    assert forks(script, env=nobody, cwd=workplace) == said
    # As if killed after the last step: what is left is the card.
    unfinished.write_bytes(note)
    (folder / "README.md").unlink()
    assert forks(script, env=nobody, cwd=workplace) == said


RELOAD = """
import sys, torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
repo, run, base = sys.argv[1:]
four = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.float32,
)
exact = dict(quantization_config=four, dtype=torch.float32)
there = AutoPeftModelForCausalLM.from_pretrained(repo, **exact)
here = AutoModelForCausalLM.from_pretrained(base, **exact)
here = PeftModel.from_pretrained(here, run)
ids = AutoTokenizer.from_pretrained(repo)("오늘 시험을 망쳤어.", return_tensors="pt")
with torch.no_grad():
    a, b = there(**ids).logits, here(**ids).logits
    with there.disable_adapter():
        plain = there(**ids).logits
assert torch.equal(a, b) and not torch.equal(a, plain)
print(there.peft_config["default"].base_model_name_or_path)
"""


@pytest.mark.slow
def test_qlora_on_a_cpu_is_pushed_at_the_end_and_reloads_the_same(
    run, hub, tiny_llama: Path, tmp_path: Path
):
    from tests.kosent_hub.conftest import write_dataset

    hub.create(BASE, files={p.name: p for p in tiny_llama.iterdir() if p.is_file()})
    data = write_dataset(tmp_path / "made")
    hub.create("alice/dialogues", repo_type="dataset", files={
        str(p.relative_to(data)): p for p in data.rglob("*.parquet")
    })  # fmt: skip
    flags = (
        f"{' '.join(FLAGS)} --dataset_name alice/dialogues --max_steps 2 --load_in_4bit true "
        "--use_bnb_nested_quant true --output_dir qlora "
        "--push_to_hub true --hub_model_id kosent/tiny-KoSent"
    ).split()
    hub.fault(r"POST /api/models/kosent/tiny-KoSent/commit", "status", times=None, code=400)
    failed = run(["python", "-m", "kosent_hub.train", *flags], cwd=tmp_path, env=hub.env())
    assert failed.returncode == 2
    again = "kosent-train push qlora --repo-id kosent/tiny-KoSent"
    assert failed.stderr.splitlines()[-1].endswith(
        f"push the run, which is whole in qlora: {again}"
    )
    hub.clear_faults()

    pushed = run([*again.split(), "--merged"], cwd=tmp_path, env=hub.env())
    assert pushed.returncode == 0, pushed.stderr
    merged = hub.files("kosent/tiny-KoSent-merged")
    assert {"model.safetensors", "config.json", "tokenizer.json", "kosent/run.json"} < merged.keys()
    assert not {name for name in merged if "adapter" in name}
    titles = [title for _, title, _ in hub.commits("kosent/tiny-KoSent")]
    assert [title for title in titles if title != "initial commit"] == ["Train with KoSent Hub"]
    assert hub.is_private("kosent/tiny-KoSent")
    files = hub.files("kosent/tiny-KoSent")
    assert {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md",
        "kosent/run.json", "kosent/log_history.jsonl", "kosent/plots/loss.png",
        "runs/kosent/events.out.tfevents",
    } <= files.keys()  # fmt: skip
    assert not {name for name in files if "checkpoint" in name or name.endswith((".bin", ".pt"))}
    for name, data in files.items():
        assert str(tmp_path).encode() not in data, name
        assert "서운한 마음이 크셨겠어요".encode() not in data, name
    run_record = records.loads(records.Run, files["kosent/run.json"].decode(), "run.json")
    assert run_record.quantization == "nf4"
    assert run_record.base_model == records.Repo(BASE, hub.head(BASE))
    assert run_record.dataset.revision == hub.head("alice/dialogues", "dataset")
    assert yaml.safe_load(files["README.md"].decode().split("---\n")[1])["base_model"] == BASE

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = [sys.executable, "-c", RELOAD, "kosent/tiny-KoSent", str(tmp_path / "qlora"), BASE]
    told = run(script, cwd=elsewhere, env=hub.env(), script=True)
    assert told.stdout == f"{BASE}\n", told.stderr


def test_checkpoints_are_pushed_to_a_branch_while_it_trains(
    run, hub, tiny_llama: Path, tmp_path: Path
):
    from tests.kosent_hub.conftest import write_dataset

    base, terms = (
        "meta-llama/Llama-3.2-Tiny",
        {"LICENSE": "the licence", "USE_POLICY.md": "for good"},
    )
    weights = {p.name: p for p in tiny_llama.iterdir() if p.is_file()}
    hub.create(base, files=weights | terms)
    write_dataset(tmp_path / "dataset")
    # The first checkpoint does not get through, which is no reason to stop.
    hub.fault(r"POST /api/models/kosent/tiny-KoSent/commit/checkpoints", "status", code=400)
    flags = (
        f"{' '.join(FLAGS)} --max_steps 3 --save_steps 1 --output_dir out --save_total_limit 1 "
        "--push_to_hub true --hub_model_id kosent/tiny-KoSent --hub_strategy checkpoint "
        f"--model_name_or_path {base}"
    ).split()
    done = run(["python", "-m", "kosent_hub.train", *flags], cwd=tmp_path, env=hub.env())
    assert done.returncode == 0, done.stderr
    assert "step 1 not pushed" in done.stderr and "training goes on" in done.stderr
    titles = [title for _, title, _ in hub.commits("kosent/tiny-KoSent", revision="checkpoints")]
    # One that is saved while another is on its way may be left out.
    assert set(titles) <= {"initial commit", "Checkpoint after step 2", "Checkpoint after step 3"}
    assert len(titles) > 1
    files = hub.files("kosent/tiny-KoSent", revision="checkpoints")
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= files.keys()
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pth", "README.md"))}
    config = json.loads(files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == (base, hub.head(base))
    # What the base's licence wants beside a model made from it goes along with each.
    assert {name: files[name].decode() for name in terms} == terms
    assert files["NOTICE"].startswith(b"Llama 3.2 is licensed under")
    main = [title for _, title, _ in hub.commits("kosent/tiny-KoSent")]
    assert main == ["Train with KoSent Hub", "initial commit"]
    run_record = records.read(records.Run, tmp_path / "out" / records.RUN_PATH)
    assert "hub_strategy" not in run_record.config


@pytest.mark.slow
def test_packed_dialogues_are_learned_as_apart(run, workplace: Path, nobody: dict[str, str]):
    """One row of several dialogues gives the loss that the same dialogues give in rows."""
    flags = (
        f"{' '.join(FLAGS)} --lora_dropout 0 --max_steps 1 --report_to none --eval_strategy no "
        "--gradient_accumulation_steps 1 --train_sampling_strategy sequential --max_length 1024"
    ).split()
    found = {}
    for name, more in (
        ("rows", ["--per_device_train_batch_size", "20"]),
        ("packed", ["--per_device_train_batch_size", "20", "--packing", "true"]),
    ):
        done = run(
            ["python", "-m", "kosent_hub.train", *flags, *more, "--output_dir", name],
            cwd=workplace, env=nobody,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[name] = records.read(records.Run, workplace / name / records.RUN_PATH).training
    assert found["packed"].learned_tokens == found["rows"].learned_tokens
    assert found["packed"].final["loss"] == pytest.approx(found["rows"].final["loss"], abs=1e-4)


def test_inspect_shows_what_is_learned_and_stops(run, workplace: Path, nobody: dict[str, str]):
    done = run([*TRAIN, "--inspect", "1", "--output_dir", "unmade"], cwd=workplace, env=nobody)
    facts, sample = done.stdout.split("\n\n")
    assert facts.splitlines()[0] == BASE
    assert facts.splitlines()[-1] == "  end of turn     <|im_end|>  (written)"
    title, *text, prompt = sample.splitlines()
    assert re.fullmatch(r"train, row 0: \d+ tokens, \d+ learned", title)
    assert text == [
        "<|im_start|>system",
        f"{SYSTEM}<|im_end|>",
        "<|im_start|>user",
        "오늘 시험을 망쳤어. (0)<|im_end|>",
        "<|im_start|>assistant",
        "[[많이 속상하셨겠어요.<|im_end|>]]",
    ]
    sha = "([0-9a-f]{12})"
    found = re.fullmatch(
        f"  prompt 1: sha256 {sha} in training, {sha} in evaluation: the same", prompt
    )
    assert found and found[1] == found[2]
    assert not (workplace / "unmade").exists()


def test_training_and_evaluation_inspect_the_same_prompts(run, workplace: Path, nobody):
    shown = {}
    for name, command in (
        ("train", [*TRAIN, "--inspect", "1"]),
        ("eval", ["kosent-eval", "--model", BASE, "--dataset", "dataset", "--split", "train",
                  "--inspect", "1"]),
    ):  # fmt: skip
        done = run([*command, "--json"], cwd=workplace, env=nobody)
        assert done.returncode == 0, done.stderr
        shown[name] = json.loads(done.stdout)
    assert shown["train"]["chat_format"] == shown["eval"]["chat_format"]
    ours, theirs = (shown[name]["samples"][0] for name in ("train", "eval"))
    assert (
        ours["trained_prompts"][0] == ours["evaluated_prompts"][0] == theirs["evaluated_prompts"][0]
    )
    assert ours["same"] and theirs["same"]


def test_help_names_the_recipes_without_importing_torch(run):
    started = time.monotonic()
    done = run(
        [sys.executable, "-X", "importtime", "-m", "kosent_hub.train", "--help"],
        env=dict(os.environ),
    )
    assert "smollm2-135m/cpu" in done.stdout
    assert "| torch" not in done.stderr and "transformers" not in done.stderr
    assert time.monotonic() - started < 10
