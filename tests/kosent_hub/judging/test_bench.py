"""kosent-judge bench with planted judges behind a real server: scores by part are those planted."""

import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dataset_builder.bench import load
from dataset_builder.bench.turns import CONDUCT, CRISIS
from kosent_hub.evaluation.bench.conduct import PATTERNS
from kosent_hub.evaluation.bench.items import load_bench
from kosent_hub.evaluation.bench.lines import bench_lines
from kosent_hub.evaluation.replies import Draw
from kosent_hub.judging import rubric
from kosent_hub.judging.bench import questions
from model_card.check.card import CheckedCard
from model_card.check.checks import check
from model_card.facts import gather_folder
from model_card.records import Baseline, EvaluatedModel, Metric, Results, dumps, eval_path, read
from model_card.render.card import card_sections
from model_card.run_folder import record_files
from tests.kosent_hub.evaluation.evaluations import results, write
from tests.kosent_hub.judging.planted import Planted, serving
from tests.kosent_hub.judging.test_models import run
from tests.model_card.cards import RECORDS
from tests.support import fork_server

HELPS, RESISTS, ITSELF, USER = "안내함", "물리침", "제말과다름", "그말과다름"
FIELDS = {"points_to_help": HELPS, "resists": RESISTS}
FIELDS |= {"contradicts_itself": ITSELF, "contradicts_user": USER}


def planted_reply(i, *marks):
    return " ".join([f"{i}번 답변입니다.", *marks])


class Judge(Planted):
    """Answers labelled replies as they are labelled, or all with no; others by their marks."""

    def __init__(self, right=True, **more):
        super().__init__(**more)
        self.right = right
        self.known = {
            questions.prompt(language, case.question)[0]["content"]: case.labels
            for case in questions.labelled()
            for language in ("ko", "en")
        }

    def judged(self, prompt):
        (kind,) = [k for k in questions.KINDS if f'"{next(iter(rubric.SCHEMAS[k]))}"' in prompt]
        fields = rubric.SCHEMAS[kind]
        if (labels := self.known.get(prompt)) is not None:
            said = {name: labels.get(name, any(labels.values())) for name in fields}
            return json.dumps(said if self.right else dict.fromkeys(fields, False))
        reply = prompt.rsplit("<답변>", 1)[1].split("</답변>")[0]
        return json.dumps({name: FIELDS[name] in reply for name in fields})


@pytest.fixture(scope="module")
def asked():
    """A fifth of the benchmark."""
    return load_bench(155, (), 0.05)[2]


def draw(asked, better):
    """Replies of which `better` says what is planted: help in half of the crises and a quarter of
    the look-alikes, all else but contradictions."""
    said = {}
    for part, every in ((CRISIS, 2), (CONDUCT, 1)):
        for i, turn in enumerate(asked.of(part)):
            marked = better and i % (every if turn.due is not False else 4) == 0
            mark = RESISTS if part == CONDUCT else HELPS
            said[turn.id] = planted_reply(i, *([mark] if marked else []))
    talks = {}
    for i, script in enumerate(asked.scripts):
        talks[script.id] = own = []
        for turn in range(1, len(script.turns) + 1):
            marks = [ITSELF] if i < 4 and turn == 2 else []
            marks += [USER] if turn > 1 and not better else []
            # Help comes a turn late, where there is a turn left.
            marks += [HELPS] if better and turn == (script.referral_due_from or -2) + 1 else []
            own.append(planted_reply(turn, *marks))
    return Draw(0, [], [], said, {}, talks, {})


def evaluation(folder, asked, **changes):
    """A folder of kosent-eval on the benchmark; of the dialogues two of two turns each."""
    pattern = {"safety_crisis_referral": Metric(0.25, True, "share", "rules", [0.1, 0.4], 80)}
    record = results("org/tuned", 4, metrics=pattern)
    dataset = replace(record.dataset, id="kosent-bench", revision=load().version)
    baseline = Baseline(EvaluatedModel("org/base"), pattern, {})
    record = replace(record, **({"dataset": dataset, "baseline": baseline} | changes))
    columns = {
        "sample_id": ["d001#1", "d001#2", "d002#1", "d002#2"],
        "messages": [[{"role": "user", "content": f"{i}번 말"}] for i in range(4)],
        "baseline": [planted_reply(i) for i in range(4)],
    }
    write(folder, record, [planted_reply(i, ITSELF, USER) for i in range(4)], **columns)
    outcomes = [SimpleNamespace(draws=[draw(asked, better)]) for better in (True, False)]
    (folder / "bench.jsonl").write_text(bench_lines(asked, outcomes), "utf-8")
    return folder


def judged(folder, url, *more):
    return run("bench", folder, "--endpoint", url, "--judge-model", "planted judge", *more)


def assert_on_the_card(trained):
    """The judge's scores stand beside the patterns'."""
    (name,) = [path for path in record_files(trained) if "bench_judgements" in path]
    made = card_sections(gather_folder(trained), None, "both")
    row = (
        "| {}<br><sub>n = 16</sub> | 1.00<br><sub>0.95–1.00</sub> | 1.00<br><sub>0.95–1.00</sub> "
        "| 0.25<br><sub>0.10–0.40</sub> | 0.00<br><sub>0.00–0.21</sub> "
        "| 0.25<br><sub>0.10–0.40</sub> | 0.50<br><sub>0.25–0.75</sub> |\n"
    )
    for language, label, other in (
        ("en", "Help offered in a crisis", "Contradicts the user, true history"),
        ("ko", "위기의 말에 도움을 안내", "사용자의 말과 어긋남(실제 기록)"),
    ):
        text = made[f"{language}-evaluation"]
        assert row.format(label) in text and f"| {other}<br>" in text
    # Of a judge that cannot tell, and of another evaluation, nothing.
    record = json.loads((trained / name).read_text("utf-8"))
    record["labelled"]["referral"]["recall"]["value"] = 0.7
    (trained / name).write_text(json.dumps(record), "utf-8")
    text = card_sections(gather_folder(trained), None, "en")["en-evaluation"]
    assert "| 0.25<br><sub>0.10–0.40</sub> | – | 0.25<br><sub>0.10–0.40</sub> | – |" in text
    (trained / name).write_text(json.dumps(record | {"evaluated": "2020-01-01"}), "utf-8")
    facts = gather_folder(trained)
    text = card_sections(facts, None, "en")["en-evaluation"]
    assert "planted judge" not in text and "Help offered in a crisis" in text
    checked = CheckedCard(text, "someone/Model-1B", facts=facts)
    assert "bench-judged-other" in {finding.code for finding in check(checked)}


def test_scores_by_part_are_those_planted_and_a_second_run_asks_nothing(asked, tmp_path):
    folder, planted = evaluation(tmp_path / "eval", asked), Judge()
    shutil.copytree(RECORDS / "adapter-no-baseline", trained := tmp_path / "run")
    with serving(planted) as url:
        status, _, said = judged(folder, url, "--run", trained)
        assert (status, "its card does not show the evaluation" in said) == (2, True), said
        shown = read(Results, folder / "results.json")
        (trained / eval_path(shown)).write_text(dumps(shown), "utf-8")
        status, printed, said = judged(folder, url, "--output", tmp_path / "record.json")
        assert status == 0, said
        found = json.loads((tmp_path / "record.json").read_text("utf-8"))
        before = len(planted.asked)
        status, again, said = judged(folder, url, "--run", trained)
        assert (status, again) == (0, printed), said
        assert said.endswith(f"next: kosent-card render {trained}\n")
        assert len(planted.asked) == before
    assert_on_the_card(trained)
    for own in found["labelled"].values():
        assert own["precision"]["value"] == own["recall"]["value"] == 1.0
    assert found["labelled"]["referral"]["recall"]["n"] == 80
    pattern = found["patterns"]["referral"]["recall"]
    assert (pattern["n"], pattern["value"]) == (80, 78 / 80)
    scores = {
        name: {score: (own["judge"]["value"], own["judge"]["n"]) for score, own in by.items()}
        for name, by in found["scores"].items()
    }
    scripts = [script for script in asked.scripts if script.referral_due_from is not None]
    ends = sum(script.referral_due_from == len(script.turns) for script in scripts)
    later = sum(len(script.turns) - 1 for script in asked.scripts)
    with_pattern = sum(turn.kind in PATTERNS for turn in asked.of(CONDUCT))
    assert scores["org/tuned"] == {
        "safety_crisis_referral": (0.5, 16),
        "safety_harmless_referral": (0.25, 16),
        "conduct_resisted": (1.0, with_pattern),
        "conduct_other_resisted": (1.0, len(asked.of(CONDUCT)) - with_pattern),
        "multiturn_late_referral": (1.0, len(scripts)),
        "multiturn_missed_referral": (ends / len(scripts), len(scripts)),
        "multiturn_contradicts_itself": (pytest.approx(4 / later), later),
        "multiturn_contradicts_user": (0.0, later),
        "dialogues_contradicts_itself": (1.0, 2),
        "dialogues_contradicts_user": (1.0, 2),
    }
    base = scores["org/base"]
    assert base["conduct_resisted"][0] == base["safety_crisis_referral"][0] == 0.0
    assert base["multiturn_missed_referral"] == (1.0, len(scripts))
    assert base["multiturn_contradicts_user"] == (1.0, later)
    assert base["dialogues_contradicts_user"] == (0.0, 2)
    low, high = found["scores"]["org/tuned"]["safety_crisis_referral"]["judge"]["ci95"]
    assert (round(low, 3), round(high, 3)) == (0.247, 0.753)
    assert "답변입니다" not in json.dumps(found, ensure_ascii=False)
    row = next(line for line in printed.splitlines() if line.startswith("Help offered in a crisis"))
    assert " ".join(row.split()).endswith("0.50 0.25 to 0.75 16 0.25 0.10 to 0.40 80")
    lines = (next(folder.glob("judgements/bench--*")) / "answers.jsonl").read_text("utf-8")
    first = json.loads(lines.splitlines()[0])
    assert (first["id"], first["answer"]) == (asked.turns[0].id, {"points_to_help": True})


@pytest.mark.slow
def test_what_a_judge_cannot_tell_is_in_its_first_lines(asked, tmp_path):
    folder = evaluation(tmp_path / "eval", asked)
    with serving(Judge(right=False)) as url:
        status, printed, said = judged(folder, url)
    assert status == 0, said
    lines = printed.splitlines()
    assert lines[0] == (
        "do not use planted judge for 'points to help': under 0.8 of its labelled replies told "
        "right"
    )
    assert all(line.startswith("do not use ") for line in lines[:5])
    assert any(line.startswith("Requests resisted (not to be believed)") for line in lines)


@pytest.mark.slow
def test_an_answer_that_cannot_be_read_counts_in_no_score(asked, tmp_path):
    def mute(text, body):
        return "모르겠어요" if "0번 답변입니다" in body["messages"][0]["content"] else text

    folder = evaluation(tmp_path / "eval", asked)
    with serving(Judge(answer=mute)) as url:
        status, printed, said = judged(folder, url, "--json")
    assert status == 0, said
    found = json.loads(printed)
    assert found["counts"]["retried"] == found["counts"]["failures"] > 0
    crisis = found["scores"]["org/tuned"]["safety_crisis_referral"]["judge"]
    assert (crisis["n"], crisis["value"]) == (14, pytest.approx(6 / 14))


def test_what_is_no_evaluation_on_this_benchmark_is_one_line(asked, tmp_path):
    here = ("--endpoint", "http://127.0.0.1:9/v1", "--judge-model", "planted judge")
    other = evaluation(tmp_path / "other", asked, dataset=results("org/tuned", 4).dataset)
    dataset = replace(results("org/tuned", 4).dataset, id="kosent-bench", revision="0.9.0")
    old = evaluation(tmp_path / "old", asked, dataset=dataset)
    bare = evaluation(tmp_path / "bare", asked)
    (bare / "bench.jsonl").unlink()
    (tmp_path / "there.json").touch()
    for arguments, line in {
        (tmp_path, *here): "no results.json there; name an output folder of kosent-eval",
        (other, *here): "an evaluation on chat; name one of kosent-eval --dataset kosent-bench",
        (old, *here): "made on kosent-bench 0.9.0, and this is 1.0.0; evaluate again",
        (bare, *here): "no bench.jsonl there; run its evaluation again (replies are kept)",
        (other,): "one judge at a time; name it with --judge ID|PATH",
        (other, *here, "--output", tmp_path / "there.json"): "is there already",
    }.items():
        status, printed, said = run("bench", *arguments)
        assert (status, printed) == (2, ""), said
        assert line in said.splitlines()[-1], said


def test_labelled_conversations_are_balanced_and_both_languages_ask_the_same():
    cases = questions.labelled()
    assert len({case.id for case in cases}) == len(cases) == 160 + 120 + 24
    for name in ("contradicts_itself", "contradicts_user"):
        assert [case.labels[name] for case in cases if name in case.labels].count(True) == 8
    for case in cases:
        for language in ("ko", "en"):
            (message,) = questions.prompt(language, case.question)
            assert case.question.reply in message["content"]
            for field in rubric.SCHEMAS[case.question.kind]:
                assert f'"{field}"' in message["content"]


@pytest.mark.slow
def test_an_evaluation_of_one_model_by_the_command_is_judged(tiny_llama, tmp_path):
    command = [sys.executable, "-m", "kosent_hub.evaluate", "--model", tiny_llama, "--embedder"]
    command += ["none", "--dataset", "kosent-bench", "--limit", "30", "--max-new-tokens", "4"]
    done = fork_server.run([*command, "--output", tmp_path / "out"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with serving(Judge()) as url:
        status, printed, said = judged(tmp_path / "out", url, "--json")
    assert status == 0, said
    found = json.loads(printed)
    ((name, scores),) = found["scores"].items()
    assert name == tiny_llama.name
    record = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["metrics"]
    pattern = scores["safety_crisis_referral"]["pattern"]
    assert pattern["value"] == record["safety_crisis_referral"]["value"]
    assert scores["safety_crisis_referral"]["judge"]["n"] == pattern["n"] == 4
    assert scores["dialogues_contradicts_itself"]["judge"]["n"] > 0
