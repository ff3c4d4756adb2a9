"""KoSent-Bench in other people's harnesses, run by `make test-harness` in its own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("inspect_ai")
from jsonschema import Draft7Validator, ValidationError

from dataset_builder.bench import load, turns
from dataset_builder.bench.publish import push
from tests.support import ROOT

pytestmark = pytest.mark.long

TASK = ROOT / "kosent_hub" / "evaluation" / "inspect_task.py"
INSPECT = [sys.executable, "-m", "inspect_ai", "eval"]
REPO = "alice/KoSent-Bench"
LIMIT = 12
# As published; where and under what licence is in the file beside it.
SCHEMA = json.loads((Path(__file__).parent / "every_eval_ever" / "eval.schema.json").read_text())
# A mock model whose replies are known; without a usage inspect would download a tokenizer.
MOCK = """
import json, sys
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from dataset_builder.bench import load, turns

SAID = {turn.input[-1]["content"]: turn.targets[-1] for turn in turns(load())}

def reply(input, tools, tool_choice, config):
    text = SAID.get(input[-1].text, "많이 힘드셨겠어요. 109로 전화해 주세요.")
    output = ModelOutput.from_content("mockllm", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output

def run(task):
    model = get_model("mockllm/model", custom_outputs=reply)
    (log,) = eval(task, model=model, display="none", log_dir=sys.argv[1], log_format="json")
    assert log.status == "success", str(log.error)[:500]
    return log
"""
KNOWN = """
from kosent_hub.evaluation import inspect_task as tasks

made = {"dialogues": tasks.dialogues(), "crisis": tasks.crisis(), "conduct": tasks.conduct(),
        "multiturn": tasks.multiturn()}
found = {part: run(task).results.scores[0].metrics for part, task in made.items()}
print(json.dumps({part: {n: m.value for n, m in own.items()} for part, own in found.items()}))
"""


def mocked(script: str, folder: Path, env=None) -> str:
    """What the script prints that runs tasks with the mock model; logs are in the folder."""
    done = subprocess.run(
        [sys.executable, "-c", MOCK + script, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(env or {}),
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def whole(reply: str) -> str:
    """A reply as kosent-eval has it: without white space around it and half a character at the
    limit of new tokens."""
    return reply.strip().rstrip("\ufffd").rstrip()


def log_in(folder: Path) -> dict:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text("utf-8"))


def test_known_replies_get_our_scores_to_the_last_digit(tmp_path):
    from kosent_hub import metrics
    from kosent_hub.evaluation.bench.items import load_bench, user_turn
    from kosent_hub.evaluation.bench.measuring import part_measures, true_history_measures
    from kosent_hub.evaluation.replies import Draw

    found = json.loads(mocked(KNOWN, tmp_path / "logs").splitlines()[-1])
    bench = load()
    said = {turn.input[-1]["content"]: turn.targets[-1] for turn in turns(bench)}
    samples, _, asked = load_bench(None, (), 0.05)
    replies = [said[sample.user] for sample in samples]
    ours = metrics.measure_texts(replies, [sample.reference for sample in samples])
    items = [sample.dialogue_id for sample in samples]
    ours |= true_history_measures(bench.version, items, replies, [False] * len(samples))
    assert found["dialogues"] == {name: measure.value for name, measure in ours.items()}
    assert 20 < found["dialogues"]["chrf"] <= 100
    help_ = "많이 힘드셨겠어요. 109로 전화해 주세요."
    talks: dict[str, list[str]] = {script.id: [] for script in asked.scripts}
    for script in asked.scripts:
        while len(own := talks[script.id]) < len(script.turns):
            own.append(said.get(user_turn(script, own), help_))
    draw = Draw(
        0,
        [],
        [],
        extra_replies={turn.id: said[turn.input[-1]["content"]] for turn in asked.turns},
        extra_stops={},
        talk_replies=talks,
        talk_stops={s.id: ["stop"] * len(s.turns) for s in asked.scripts},
    )
    parts = {n: m.value for (own,) in part_measures(asked, [draw]) for n, m in own.items()}
    assert found["crisis"] | found["conduct"] | found["multiturn"] == parts
    assert found["crisis"]["safety_crisis_referral"] > 0.9
    assert found["multiturn"]["multiturn_repetition"] > 0.9


def test_a_small_model_says_in_inspect_what_it_says_here(tiny_llama, tmp_path):
    model = ["--model", "hf/tiny", "-M", f"model_path={tiny_llama}", "-M", "do_sample=false"]
    command = [*INSPECT, f"{TASK}@dialogues", *model, "--limit", "12", "--max-tokens", "8"]
    command += ["--display", "none", "--log-format", "json", "--log-dir", str(tmp_path / "logs")]
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    log = log_in(tmp_path / "logs")
    assert log["status"] == "success"
    command = [sys.executable, "-m", "kosent_hub.evaluate", "--model", str(tiny_llama)]
    command += ["--dataset", "kosent-bench", "--limit", "12", "--max-new-tokens", "8"]
    command += ["--embedder", "none", "--dtype", "float32", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ours = pq.read_table(tmp_path / "out" / "samples.parquet").to_pydict()
    theirs = {s["id"]: s["output"]["choices"][0]["message"]["content"] for s in log["samples"]}
    assert [whole(theirs[name]) for name in ours["sample_id"]] == ours["prediction"]
    scores = log["results"]["scores"][0]["metrics"]
    record = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    for name in ("chrf", "bleu", "rouge_l"):
        assert scores[name]["value"] == record["metrics"][name]["value"]


def test_inspects_own_task_reads_the_repo(hub, tmp_path):
    push(REPO, public=True, api=hub.api("alice"))
    mocked(f'run("hf/{REPO}")', tmp_path / "logs", hub.env(None))
    log = log_in(tmp_path / "logs")
    assert len(log["samples"]) == len(turns(load())) == 998
    first = log["samples"][0]
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]
    assert first["target"] == load().dialogues[0].turns[0].replies[0]
    (score,) = log["results"]["scores"]
    assert score["name"] == "f1"
    # The replies to crisis and conduct are the targets themselves, those to dialogues the others.
    assert 220 / 998 < score["metrics"]["mean"]["value"] < 0.5


def test_inspects_command_reads_the_repo_with_a_small_model(hub, tiny_llama, tmp_path):
    push(REPO, public=True, api=hub.api("alice"))
    command = [*INSPECT, f"hf/{REPO}", "--model", "hf/tiny", "-M", f"model_path={tiny_llama}"]
    command += ["-M", "do_sample=false", "--limit", "3", "--max-tokens", "8"]
    command += ["--display", "none", "--log-format", "json", "--log-dir", str(tmp_path / "logs")]
    env = os.environ | dict(hub.env(None))
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    log = log_in(tmp_path / "logs")
    assert (log["status"], len(log["samples"])) == ("success", 3)
    assert all(s["output"]["choices"][0]["message"]["content"] for s in log["samples"])


def in_lm_eval(folder: Path, name: str, model: Path, out: Path) -> tuple[dict, dict]:
    """lm-eval's scores of the first samples by its command, and each sample's reply or
    log-likelihoods by its id."""
    command = [sys.executable, "-m", "lm_eval", "run", "--include_path", str(folder)]
    command += ["--tasks", name, "--apply_chat_template", "--model", "hf", "--model_args"]
    command += [f"pretrained={model},add_bos_token=False,dtype=float32", "--device", "cpu"]
    command += ["--limit", str(LIMIT), "--gen_kwargs", "max_gen_toks=8"]
    command += ["--output_path", str(out / "lm-eval"), "--log_samples"]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=out)
    assert done.returncode == 0, done.stderr[-2000:]
    (results,) = (out / "lm-eval").rglob("results_*.json")
    found = json.loads(results.read_text("utf-8"))["results"]
    samples = {}
    for task in ("replies", "likelihood"):
        (path,) = (out / "lm-eval").rglob(f"samples_{name}_{task}_*.jsonl")
        lines = map(json.loads, path.read_text("utf-8").splitlines())
        samples[task] = {line["doc"]["id"]: line["filtered_resps"] for line in lines}
    return found, samples


@pytest.mark.parametrize(
    ("dataset", "name"), [("kosent-bench", "kosent_bench"), ("chat", "kosent")]
)
def test_lm_eval_gives_the_same_replies_our_chrf_and_the_likelihood(
    tiny_llama, tmp_path, dataset, name
):
    data = [sys.executable, "-m", "dataset_builder.cli"]
    if dataset == "chat":
        sample = ROOT / "dataset_builder" / "sample"
        subprocess.run([*data, "build", sample, "chat"], check=True, cwd=tmp_path)
    subprocess.run([*data, "export", dataset, "--lm-eval", "tasks"], check=True, cwd=tmp_path)
    found, samples = in_lm_eval(tmp_path / "tasks", name, tiny_llama, tmp_path)
    command = [sys.executable, "-m", "kosent_hub.evaluate", "--model", str(tiny_llama)]
    command += ["--dataset", dataset, "--limit", str(LIMIT), "--max-new-tokens", "8"]
    command += ["--embedder", "none", "--dtype", "float32", "--output", "out"]
    command += ["--every-eval-ever", "every.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ours = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["metrics"]
    rows = pq.read_table(tmp_path / "out" / "samples.parquet").to_pydict()
    assert {i: whole(resps[0]) for i, resps in samples["replies"].items()} == dict(
        zip(rows["sample_id"], rows["prediction"], strict=True)
    )
    assert found[f"{name}_replies"]["chrf,none"] == ours["chrf"]["value"]
    # Both add up float32 numbers, each in batches of its own.
    likelihood = found[f"{name}_likelihood"]["bits_per_byte,none"]
    assert likelihood == pytest.approx(ours["bits_per_byte"]["value"], rel=1e-6)
    assert_published_form(tmp_path / "every.json")


def assert_published_form(path: Path) -> dict:
    """The file, which is as Every Eval Ever's published schema 0.3.0 wants it."""
    every = json.loads(path.read_text("utf-8"))
    assert every["schema_version"] == SCHEMA["version"] == "0.3.0"
    Draft7Validator.check_schema(SCHEMA)
    Draft7Validator(SCHEMA).validate(every)
    (broken := json.loads(json.dumps(every)))["evaluation_results"][0].pop("score_details")
    with pytest.raises(ValidationError):
        Draft7Validator(SCHEMA).validate(broken)
    return every


def test_drawn_replies_beside_a_baseline_are_in_the_published_form_too(tiny_llama, tmp_path):
    command = [sys.executable, "-m", "kosent_hub.evaluate", "--model", str(tiny_llama)]
    command += ["--baseline", str(tiny_llama), "--baseline-system-prompt", "짧게 답하세요."]
    command += ["--dataset", "kosent-bench", "--limit", "4", "--max-new-tokens", "4"]
    command += ["--temperature", "1", "--seeds", "2", "--embedder", "none", "--output", "out"]
    command += ["--every-eval-ever", "every.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    every = assert_published_form(tmp_path / "every.json")
    found = {one["metric_config"]["metric_id"] for one in every["evaluation_results"]}
    assert {"kosent.chrf", "kosent.safety_crisis_referral", "kosent.multiturn_repetition"} <= found
