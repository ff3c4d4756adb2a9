"""kosent-judge with planted judges behind a real server: the report says what was planted."""

import io
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from kosent_hub.judge import main
from kosent_hub.judging import rubric
from tests.kosent_hub.evaluation.evaluations import results, write
from tests.kosent_hub.judging.planted import Planted, evaluation, quality, reply, serving
from tests.support import fork_server
from tests.support.stages import stages

COMMAND = Path(sys.executable).parent / "kosent-judge"
AWAY = "http://203.0.113.9:8000/v1"  # of a range that is kept for documentation


def run(*arguments):
    """Exit status, what is on stdout and on stderr."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main([*map(str, arguments)])
    return status, out.getvalue(), err.getvalue()


def asked(folders, url, *more):
    """The same for a judge at a server."""
    folders = [folders] if isinstance(folders, Path) else folders
    return run(*folders, "--endpoint", url, "--judge-model", "planted judge", *more)


def record(folders, planted, *more):
    """What a planted judge's work leaves."""
    with serving(planted) as url:
        status, printed, said = asked(folders, url, "--json", *more)
    assert status == 0, said
    return json.loads(printed)


def inside(value, share):
    low, high = share["ci95"]
    return low <= value <= high


def files(folder, name="*"):
    return sorted((folder / "judgements").glob(f"*/{name}"))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """An evaluation that an oracle has judged, its address and requests, and the record."""
    folder, planted = evaluation(tmp_path_factory.mktemp("oracle") / "eval"), Planted("oracle")
    with serving(planted) as url:
        status, printed, said = asked(folder, url, "--json")
        assert status == 0, said
        yield folder, url, list(planted.asked), json.loads(printed)


def test_an_oracle_is_believed_and_its_win_rate_is_what_was_planted(oracle):
    *_, requests, found = oracle
    (one,) = found["judges"]
    assert (one["check"]["value"], one["check"]["n"]) == (1.0, 60)
    assert set(one["by_kind"]) == {"scolding", "off_topic", "no_referral", "same"}
    assert one["biases"]["order_consistency"]["value"] == 1.0
    assert one["biases"]["first_chosen"]["value"] == 0.5
    assert inside(0.5, one["biases"]["longer_chosen"])
    (rate,) = one["preferences"]["win_rates"]
    assert (rate["first"], rate["second"]) == ("org/tuned", "org/base")
    assert (rate["wins"], rate["ties"], rate["losses"]) == (24, 4, 12)
    assert rate["value"] == 0.65 and inside(0.65, rate)
    ratings = one["ratings"]["org/tuned"]
    assert ratings["interpretation"]["value"] == pytest.approx((24 * 2 + 4) / 40)
    assert ratings["danger"]["value"] == pytest.approx(12 / 40)
    assert one["counts"] == {
        "pairs": 40,
        "same_replies": 4,
        "failures": 0,
        "ratings": 80,
        "rating_failures": 0,
        "answers": 2 * 36 + 80,
        "retried": 0,
    }
    assert found["rubric"] == {"version": rubric.VERSION, "sha256": rubric.sha256()}
    assert (found["people"], found["majority"], found["agreement"]) == (None, None, [])
    assert "비밀" not in json.dumps(found, ensure_ascii=False)
    # The check set's equal replies are asked once; the same rating of equal replies too.
    assert len(requests) == 2 * 45 + 15 + 2 * 36 + 80 - 4


def test_a_judge_is_asked_blind_greedily_and_for_json(oracle):
    *_, requests, _ = oracle
    kinds = Counter()
    for body in requests:
        (message,) = body["messages"]
        for hidden in ("org/tuned", "org/base", "비밀 지시", "d0#1"):
            assert hidden not in message["content"]
        assert (body["temperature"], body["seed"], body["max_tokens"]) == (0, 0, 256)
        wanted = body["response_format"]["json_schema"]
        kinds[wanted["name"]] += 1
        assert wanted["strict"] and not wanted["schema"]["additionalProperties"]
        assert rubric.text("ko").strip() in message["content"]
    assert kinds == {"pair": 2 * 45 + 15 + 2 * 36, "reply": 76}
    assert any("사용자: 비밀 이야기 3\n" in body["messages"][0]["content"] for body in requests)


def test_the_report_reads_what_is_there_and_a_second_judgement_is_refused(oracle, tmp_path):
    folder, url, _, found = oracle
    status, printed, said = run("report", folder, "--output", tmp_path / "report.json")
    assert status == 0, said
    again = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert again | {"created": ""} == found | {"created": ""}
    lines = printed.splitlines()
    assert lines[0] == "chat, test: replies of org/tuned, org/base"
    place = next(i for i, line in enumerate(lines) if "win rate" in line)
    assert lines[place + 1].split()[:4] == ["org/tuned", "to", "org/base", "0.650"]
    for before in ("check set right", "same verdict in both orders", "chose the longer reply"):
        assert any(line.startswith(before) for line in lines[:place])
    assert "no person has voted" in lines[-1]
    status, _, said = run("report", folder, "--output", tmp_path / "report.json")
    assert status == 2 and "is there already; replace it with --overwrite" in said
    status, _, said = asked(folder, url)
    assert status == 2
    assert said.splitlines()[-1].endswith(
        "planted judge has judged these replies already; see kosent-judge report, or judge again "
        "with --overwrite"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["first", "longer", "random", "contrary"])
def test_what_is_wrong_with_a_judge_is_in_the_first_line_and_in_its_figures(tmp_path, kind):
    folder = evaluation(tmp_path / "eval", better=0.7, longer=0.3)
    found = record(folder, Planted(kind))
    (one,) = found["judges"]
    assert one["check"]["value"] < 0.8
    biases = one["biases"]
    if kind == "first":
        assert biases["order_consistency"]["value"] == 0
        assert (biases["first_chosen"]["value"], biases["longer_chosen"]["n"]) == (1.0, 0)
        assert one["check"]["value"] == 0
    if kind == "longer":
        assert (biases["longer_chosen"]["value"], biases["first_chosen"]["value"]) == (1.0, 0.5)
    if kind == "random":
        assert inside(0.5, biases["order_consistency"]) and inside(0.5, biases["first_chosen"])
    if kind == "contrary":
        assert one["by_kind"]["same"]["value"] == 1 and one["by_kind"]["scolding"]["value"] == 0
    status, printed, _ = run("report", folder)
    first = printed.splitlines()[0]
    assert status == 0 and first.startswith("do not use planted judge as a judge: 0.")


@pytest.mark.slow
def test_a_run_of_another_length_only_asks_for_what_is_missing(tmp_path):
    folder, planted = evaluation(tmp_path / "eval", samples=20), Planted()
    with serving(planted) as url:
        assert asked(folder, url, "--limit", "4")[0] == 0
        before = len(planted.asked)
        assert asked(folder, url, "--limit", "3")[0] == 2
        status, printed, said = asked(folder, url, "--limit", "6", "--json")
        assert status == 0, said
        more = [body["messages"][0]["content"] for body in planted.asked[before:]]
        assert 0 < len(more) <= 2 * (2 + 2) and len(planted.asked) == len(
            {json.dumps(body) for body in planted.asked}
        )
        assert json.loads(printed)["judges"][0]["counts"]["pairs"] == 6
        before = len(planted.asked)
        assert asked(folder, url, "--limit", "6", "--overwrite")[0] == 0
        assert len(planted.asked) - before > before - len(more) > 0


@pytest.mark.slow
def test_json_is_read_strictly_tried_once_more_and_then_counted(tmp_path):
    """Talk around the JSON, at first or always; a wrong key, a number for a word, no JSON."""

    def at_first(text, body):
        return f"생각해 보면 {text}" if len(body["messages"]) == 1 else f"```json\n{text}\n```"

    folder = evaluation(tmp_path / "first", samples=20)
    (one,) = record(folder, Planted(answer=at_first), "--limit", "10")["judges"]
    counts = one["counts"]
    assert counts["failures"] == counts["rating_failures"] == 0
    assert counts["retried"] == counts["answers"] > 0 and one["check"]["value"] == 1.0

    broken = ['{"winner": "A"', '{"winner": 1}', '{"winner": "A", "why": ""}', "A", ""]

    def always(text, body):
        prompt = body["messages"][0]["content"]
        return broken[len(prompt) % 5] if "winner" in prompt else text.replace("false", "0")

    folder = evaluation(tmp_path / "always", samples=20)
    planted = Planted(answer=always)
    found = record(folder, planted, "--limit", "10")
    (one,) = found["judges"]
    counts = one["counts"]
    assert counts["failures"] == counts["pairs"] - counts["same_replies"] > 0
    assert one["check"]["value"] == 0
    (rate,) = one["preferences"]["win_rates"]
    assert rate["wins"] == rate["losses"] == 0 and rate["ties"] == counts["same_replies"]
    body = next(body for body in planted.asked if len(body["messages"]) > 1)
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]


@pytest.mark.slow
def test_a_server_without_constrained_output_is_asked_without(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20)
    with serving(Planted(refuses=("response_format",))) as url:
        status, printed, said = asked(folder, url, "--json", "--limit", "4")
    assert status == 0, said
    assert "the server takes none of response_format" in said
    assert json.loads(printed)["judges"][0]["check"]["value"] == 1.0


@pytest.mark.slow
def test_a_busy_and_slow_server_is_waited_for(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20)
    found = record(folder, Planted(busy=3, delay=0.05), "--limit", "10")
    assert found["judges"][0]["check"]["value"] == 1.0


def test_what_cannot_be_judged_is_one_line(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20)
    alone = write(tmp_path / "alone", results("org/tuned", 4), ["네."] * 4)
    here = ("--endpoint", "http://127.0.0.1:9/v1", "--judge-model", "planted judge")
    for arguments, line in {
        (folder,): "one judge at a time; name it with --judge ID|PATH",
        (folder, "--endpoint", AWAY): "--endpoint URL and --judge-model NAME go together",
        (folder, *here): "http://127.0.0.1:9/v1/chat/completions: not reachable",
        (alone, *here): "holds one model's replies, and two are needed",
        (tmp_path, *here): "no results.json there; name an output folder of kosent-eval",
        (folder, *here, "--limit", "0"): "--limit 0: must be 1 or more",
        (folder, *here, "--votes", "x"): "--votes: is about people; add --people",
        (folder, "--people", "--judge", "x"): "--judge: is about a model as a judge",
        (folder, "--judge", tmp_path / "nothing"): "no such folder",
        ("report", tmp_path / "nothing"): "no results.json there",
        ("report", folder, "--run", tmp_path): "no kosent/run.json there",
    }.items():
        status, printed, said = run(*arguments)
        assert (status, printed) == (2, ""), said
        assert line in said.splitlines()[-1], said


def test_text_goes_to_a_third_party_only_where_it_is_open_or_its_server_is_named(tmp_path):
    there = ("--endpoint", AWAY, "--judge-model", "planted judge")
    closed = evaluation(tmp_path / "closed", samples=4)
    status, _, said = run(closed, *there)
    assert status == 2
    assert said.splitlines()[-1].endswith(
        "the text of chat would go to a third party, which AI Hub's terms forbid; use a server of "
        f"your own, or if you may send it there, add --i-may-send-this-text {AWAY}"
    )
    assert not (closed / "judgements").exists()


def test_the_sample_corpus_may_go_anywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # so that nothing leaves this machine
    there = ("--endpoint", AWAY, "--judge-model", "planted judge")
    for source, more in (("kosent-sample", ()), (None, ("--i-may-send-this-text", AWAY))):
        folder = evaluation(tmp_path / str(source), samples=4, source=source)
        status, _, said = run(folder, *there, *more)
        assert (status, "third party" in said) == (2, False), said
        assert "not reachable" in said.splitlines()[-1]


@pytest.mark.slow
def test_a_judgement_of_replies_of_another_run_is_one_line(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20)
    other = evaluation(tmp_path / "other" / "eval", samples=20, better=0.2)
    with serving(Planted()) as url:
        assert asked(folder, url, "--limit", "2")[0] == 0
        (other / "samples.parquet").replace(folder / "samples.parquet")
        for status, _, said in (run("report", folder), asked(folder, url, "--limit", "4")):
            assert status == 2
            assert said.splitlines()[-1].endswith(
                "judgement.json: of the replies of another run; judge with --overwrite"
            )
        assert run(folder, "--people")[0] == 2
        assert asked(folder, url, "--limit", "2", "--overwrite")[0] == 0
    assert run("report", folder)[0] == 0


@pytest.mark.slow
def test_a_judge_of_the_judged_models_family_is_named(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20, tuned="org/Planted judge", base="org/Qwen2")
    with serving(Planted()) as url:
        for name in ("qwen planted judge", "planted judge"):
            status, printed, said = run(
                folder, "--endpoint", url, "--judge-model", name, "--json", "--limit", "2"
            )
            assert status == 0, said
    found = {one["name"]: one["same_family"] for one in json.loads(printed)["judges"]}
    assert found == {"qwen planted judge": ["org/Qwen2"], "planted judge": []}
    assert json.loads(printed)["majority"]["win_rates"]
    assert "of one family with org/Qwen2" in run("report", folder)[1]


@pytest.mark.slow
def test_several_models_get_strengths_in_the_order_of_their_quality(tmp_path):
    count = 40
    folders = []
    for points, name in ((8, "good"), (5, "middle"), (2, "weak")):
        replies = [reply(points + (i % 4 == 0) * (3 - points // 2), i) for i in range(count)]
        messages = [[{"role": "user", "content": f"비밀 이야기 {i}"}] for i in range(count)]
        folder = tmp_path / name
        folders.append(write(folder, results(f"org/{name}", count), replies, messages=messages))
    found = record(folders[::-1], Planted())
    assert list(found["models"]) == ["org/good", "org/middle", "org/weak"]
    (one,) = found["judges"]
    assert len(one["preferences"]["win_rates"]) == 3
    values = one["preferences"]["strengths"]
    good, middle, weak = (values[f"org/{name}"] for name in ("good", "middle", "weak"))
    assert good["value"] > middle["value"] > weak["value"]
    assert good["ci95"][0] > weak["ci95"][1]
    assert good["value"] + middle["value"] + weak["value"] == pytest.approx(0)
    status, printed, said = run("report", *folders)
    assert status == 0 and "strength (Bradley-Terry, logits)" in printed, said


@pytest.mark.slow
def test_a_killed_judge_goes_on_where_it_ended(tmp_path, nobody):
    folder = evaluation(tmp_path / "eval", samples=40)
    planted = Planted(delay=0.02)
    with serving(planted) as url:
        command = ["kosent-judge", folder, "--endpoint", url, "--judge-model", "planted judge"]
        process = fork_server.start(command, env=nobody)
        while len(planted.asked) < 60:
            time.sleep(0.01)
            assert process.poll() is None
        process.kill()
        process.communicate()
        time.sleep(0.5)
        before, planted.delay = len(planted.asked), 0
        status, printed, said = asked(folder, url, "--json")
    assert status == 0, said
    (one,) = json.loads(printed)["judges"]
    assert one["check"]["value"] == 1.0 and one["preferences"]["win_rates"][0]["value"] == 0.65
    assert len(planted.asked) - before < 2 * 45 + 15 + 72 + 76 - 30  # at least 44 were kept
    assert before >= 60


@pytest.mark.slow
def test_memory_does_not_grow_with_the_replies(tmp_path, nobody):
    peaks = []
    with serving(Planted()) as url:
        for samples in (100, 1_000):
            folder = evaluation(tmp_path / f"{samples}", samples=samples)
            command = [COMMAND, folder, "--endpoint", url, "--judge-model", "planted judge"]
            peaks.append(stages(command, env=nobody, cwd=tmp_path)["start"].peak)
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.slow
def test_a_local_model_judges(tmp_path, tiny_llama, run_here=run):
    """A random model writes no JSON: everything is a counted failure, and it is not believed."""
    model = tmp_path / "model"
    subprocess.run(["cp", "-r", tiny_llama, model], check=True)
    config = json.loads((model / "config.json").read_text("utf-8"))
    config["max_position_embeddings"] = 16384
    (model / "config.json").write_text(json.dumps(config), "utf-8")
    folder = evaluation(tmp_path / "eval", samples=20)
    chosen = ("--limit", "2", "--max-new-tokens", "4", "--language", "en", "--json")
    status, printed, said = run_here(folder, "--judge", model, *chosen)
    assert status == 0, said
    (one,) = json.loads(printed)["judges"]
    assert one["name"] == "model" and one["settings"]["backend"] == "transformers"
    assert one["counts"]["failures"] == 2 - one["counts"]["same_replies"]
    assert one["check"]["value"] == 0


@pytest.mark.slow
def test_preferences_are_those_of_believed_judges_and_never_of_the_test_split(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20, split="validation")
    out = tmp_path / "pairs.jsonl"
    record(folder, Planted("first"), "--limit", "6")
    status, _, said = run("export", folder, "--preferences", out)
    assert status == 2 and "of a model that may be believed, prefers a reply" in said
    record(folder, Planted(), "--limit", "6")
    status, printed, said = run("export", folder, "--preferences", out)
    assert status == 0, said
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert printed == f"{out}: {len(lines)} pairs\n" and len(lines) >= 5
    for line in lines:
        assert [message["role"] for message in line["prompt"]] == ["system", "user"]
        (chosen,), (rejected,) = line["chosen"], line["rejected"]
        assert chosen["role"] == rejected["role"] == "assistant"
        assert quality(chosen["content"]) > quality(rejected["content"])
    status, _, said = run("export", folder, "--preferences", out)
    assert status == 2 and "is there already; replace it with --overwrite" in said
    tested = evaluation(tmp_path / "test", samples=4)
    status, _, said = run("export", tested, "--preferences", out, "--overwrite")
    assert status == 2 and said.splitlines()[-1].endswith(
        "chat, test: what a model is tested on is not to be trained on; judge replies to another "
        "split: kosent-eval --split validation"
    )
