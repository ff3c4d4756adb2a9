"""kosent-eval compare through its front door, on output folders with and without a model."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow.parquet as pq
import pytest

from kosent_hub import metrics
from kosent_hub.evaluate import main
from kosent_hub.evaluation import compare
from model_card.records import Results, read
from tests.kosent_hub.dialogues import write_dataset
from tests.kosent_hub.evaluation.evaluations import results, targets, write

SAMPLES = 48
AGAIN = "run its evaluation again (replies are kept)"


def replies(kept):
    """Replies of which this share of the words is the true reply's."""
    found = []
    for i, target in enumerate(targets(SAMPLES)):
        words = target.split()
        found.append(" ".join(words[: max(1, round(kept * len(words)) - i % 2)]))
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Folders of a weak, a good and a middling model, the last two of one id."""
    place = tmp_path_factory.mktemp("three")
    shots = replace(results("org/tuned", SAMPLES).protocol, few_shot=3)
    return [
        write(place / "weak", results("org/base", SAMPLES), replies(0.2)),
        write(place / "good", results("org/tuned", SAMPLES), targets(SAMPLES)),
        write(place / "middle", results("org/tuned", SAMPLES, protocol=shots), replies(0.8)),
    ]


@pytest.fixture(scope="module")
def found(three):
    """The document that is printed of the three."""
    with redirect_stdout(io.StringIO()) as printed:
        assert run(*three, "--json") == 0
    return json.loads(printed.getvalue())


def run(*arguments):
    return main(["compare", *map(str, arguments)])


def document(capsys, *arguments):
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_help_is_quick_and_imports_no_torch(three):
    code = (
        "import sys, kosent_hub.evaluate as e\n"
        "status = 1\n"
        "try: e.main(['compare', '--help'])\n"
        "except SystemExit as done: status = done.code\n"
        "status = status or e.main(['compare', *sys.argv[1:]])\n"
        "sys.exit(status or 'torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *three[:2]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--primary-metric" in done.stdout
    assert "2 models on chat, test: 48 samples of 24 dialogues" in done.stdout


def test_the_table_has_values_ranks_and_pairs(three, capsys):
    assert run(*three) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[:4] == [
        "3 models on chat, test: 48 samples of 24 dialogues",
        "A  org/base",
        "B  org/tuned",
        "C  org/tuned (few_shot 3)",
    ]
    (chrf,) = (line for line in lines if line.startswith("chrF++ (0-100) ↑"))
    assert re.search(r"\*100\.0", chrf), "the best is marked"
    assert any(re.match(r"chrF\+\+ +3 \(3 to 3\) +1 \(1 to 1\) +2 \(2 to 2\)$", x) for x in lines)
    start = next(i for i, line in enumerate(lines) if line.startswith("chrF++, pair by pair"))
    assert [line.split("  ")[0] for line in lines[start + 1 : start + 4]] == [
        "B − C",
        "B − A",
        "C − A",
    ]
    assert said.err.splitlines()[-1] == (
        "next: the same command with --output STEM writes a page of it"
    )


def test_values_ranks_tests_and_wins_are_those_of_the_replies(found):
    rows = [i // 2 for i in range(SAMPLES)]
    measured = [
        metrics.measure_texts(texts, targets(SAMPLES), [False] * SAMPLES)
        for texts in (replies(0.2), targets(SAMPLES), replies(0.8))
    ]
    for model, own in zip(found["models"], measured, strict=True):
        bounds = metrics.intervals(own, rows, 0)
        for name in ("bleu", "chrf", "rouge_l", "length_ratio", "hangul_ratio", "truncated_rate"):
            assert model["metrics"][name]["value"] == pytest.approx(own[name].value)
            assert model["metrics"][name]["ci95"] == pytest.approx(bounds[name])
        # Not measured again: the mean of the column, and one weighted by the true replies' bytes.
        assert model["metrics"]["cosine_similarity"]["value"] == 0.5
        sizes = [len(target.encode()) for target in targets(SAMPLES)]
        bits = np.average([1.5 + i % 2 for i in range(SAMPLES)], weights=sizes)
        assert model["metrics"]["bits_per_byte"]["value"] == pytest.approx(bits)
        assert model["metrics"]["safety_crisis_referral"]["ci95"] == [0.1, 0.4]
        assert "safety_crisis_referral" not in model["ranks"]
        assert "length_ratio" not in model["ranks"]
    assert [model["ranks"]["chrf"]["rank"] for model in found["models"]] == [3, 1, 2]
    assert {tuple(model["ranks"]["cosine_similarity"]["ci95"]) for model in found["models"]} == {
        (1, 3)
    }

    ours, theirs = measured[1], measured[0]
    (pair,) = (p for p in found["pairs"] if (p["first"], p["second"]) == ("org/tuned", "org/base"))
    test = metrics.compare({"chrf": ours["chrf"]}, {"chrf": theirs["chrf"]}, rows, 0)["chrf"]
    assert pair["tests"]["chrf"]["difference"] == pytest.approx(test.value)
    assert pair["tests"]["chrf"]["p_value"] == pytest.approx(test.p_value)
    assert pair["wins"] == {"first": 24, "ties": 0, "second": 0}
    assert found["clearly_best"]["chrf"] == "org/tuned"
    assert "cosine_similarity" not in found["clearly_best"]


def test_holm_is_over_the_pairs_of_the_primary_metric_and_over_all_others(found):
    tests = {
        (i, name): test
        for i, pair in enumerate(found["pairs"])
        for name, test in pair["tests"].items()
    }
    for family in (
        {key: t for key, t in tests.items() if key[1] == "chrf"},
        {key: t for key, t in tests.items() if key[1] != "chrf"},
    ):
        adjusted = metrics.holm({str(key): t["p_value"] for key, t in family.items()})
        for key, test in family.items():
            assert test["p_adjusted"] == pytest.approx(adjusted[str(key)])
    assert len(found["pairs"]) == len(list(combinations(range(3), 2)))


def test_the_order_of_folders_changes_nothing_but_the_order_of_models(three, found, capsys):
    turned = document(capsys, *reversed(three))
    assert turned.pop("models") == found["models"][::-1]
    assert turned.items() <= found.items()


def test_distinct_is_told_of_equally_many_words_of_all_models(found):
    told = [model["metrics"]["distinct_1"] for model in found["models"]]
    texts = [replies(0.2), targets(SAMPLES), replies(0.8)]
    distinct = metrics.distinct_at(texts, 1)
    assert [metric["value"] for metric in told] == pytest.approx(distinct.values)
    assert {metric["n"] for metric in told} == {distinct.at}


def test_lower_is_better_where_it_is(tmp_path, capsys):
    few = write(tmp_path / "few", results("few", SAMPLES), targets(SAMPLES))
    bits = [1.0 + i % 2 for i in range(SAMPLES)]
    less = write(tmp_path / "less", results("less", SAMPLES), targets(SAMPLES), bits_per_byte=bits)
    found = document(capsys, few, less, "--primary-metric", "bits_per_byte")
    assert [model["ranks"]["bits_per_byte"]["rank"] for model in found["models"]] == [2, 1]
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"]) == ("less", "few")
    assert pair["tests"]["bits_per_byte"]["difference"] == pytest.approx(-0.5)
    assert pair["wins"] == {"first": 24, "ties": 0, "second": 0}
    assert pair["tests"]["chrf"]["p_value"] == 1
    assert [model["ranks"]["chrf"] for model in found["models"]] == [
        {"rank": 1, "ci95": [1, 2]}
    ] * 2


def test_true_replies_that_could_not_be_scored_do_not_count(tmp_path, capsys):
    bits = [None if i == 0 else 2.0 for i in range(SAMPLES)]
    record = results("a", SAMPLES)
    unmeasured = record.metrics | {
        "bits_per_byte": replace(record.metrics["bits_per_byte"], value=None)
    }
    one = write(tmp_path / "a", record, targets(SAMPLES), bits_per_byte=bits)
    other = write(tmp_path / "b", results("b", SAMPLES, metrics=unmeasured), targets(SAMPLES))
    found = document(capsys, one, other)
    assert [m["metrics"]["bits_per_byte"]["value"] for m in found["models"]] == [2.0, None]
    assert "bits_per_byte" not in found["models"][0]["ranks"]
    assert run(one, other, "--primary-metric", "bits_per_byte") == 2
    assert "cannot be tested on these evaluations" in capsys.readouterr().err


def test_few_dialogues_have_no_intervals(tmp_path, capsys):
    count = 18
    folders = [
        write(tmp_path / name, results(name, count), texts)
        for name, texts in (("a", targets(count)), ("b", ["네."] * count))
    ]
    found = document(capsys, *folders)
    assert found["models"][0]["ranks"]["chrf"] == {"rank": 1, "ci95": None}
    assert found["models"][0]["metrics"]["chrf"]["ci95"] is None
    assert found["pairs"][0]["tests"]["chrf"]["trials"] == 2**9


def test_models_of_one_name_are_told_apart(tmp_path, capsys):
    folders = [
        write(tmp_path / place, results("same", SAMPLES), targets(SAMPLES))
        for place in ("x/out", "y/out", "z/other")
    ]
    found = document(capsys, *folders[1:])
    assert [model["name"] for model in found["models"]] == ["same (out)", "same (other)"]
    found = document(capsys, *folders)
    assert [model["name"] for model in found["models"]] == ["same (1)", "same (2)", "same (3)"]


def test_notes_say_where_engines_number_formats_and_tokenizers_differ(tmp_path, capsys):
    one, other = results("a", SAMPLES), results("b", SAMPLES)
    model = replace(other.model, dtype="bfloat16", tokenizer={"sha256": "other"})
    other = replace(other, model=model, speed=replace(other.speed, backend="vllm"))
    folders = [write(tmp_path / r.model.id, r, targets(SAMPLES)) for r in (one, other)]
    assert run(*folders) == 0
    said = capsys.readouterr().out
    assert "backends differ: A transformers, B vllm\n" in said
    assert "number formats differ: A float32, B bfloat16\n" in said
    assert "left out, because tokenizers differ: Perplexity\n" in said
    assert "Perplexity (per token)" not in said


def changed(**changes):
    """A function that gives a record with other fields: of the record, or of a part of it."""

    def change(record):
        found = {
            name: replace(getattr(record, name), **value) if isinstance(value, dict) else value
            for name, value in changes.items()
        }
        return replace(record, **found)

    return change


DIFFERENT = {
    "split differs (test and dev)": changed(dataset={"split": "dev"}),
    "dataset.sha256 differs (": changed(dataset={"sha256": "0" * 64}),
    "limit differs (null and 5)": lambda r: replace(r, settings=r.settings | {"limit": 5}),
    "max_new_tokens differs (8 and 128)": lambda r: replace(r, settings={}),
    "embedder differs (jhgan/ko-sroberta-multitask and usem3)": lambda r: replace(
        r, settings=r.settings | {"embedder": "usem3"}
    ),
    "temperature differs (0.0 and 0.7)": lambda r: replace(
        r, settings=r.settings | {"temperature": 0.7}
    ),
    "generation.do_sample differs (false and true)": changed(
        protocol={"generation": {"do_sample": True, "max_new_tokens": 8}}
    ),
    "task_version differs (2 and 3)": changed(task_version="3"),
    "the signature of cosine_similarity differs (encoder@1 and encoder@2)": lambda r: replace(
        r,
        metrics=r.metrics
        | {"cosine_similarity": replace(r.metrics["cosine_similarity"], signature="encoder@2")},
    ),
}


@pytest.mark.parametrize("said", DIFFERENT)
def test_other_samples_or_settings_are_refused_by_name(three, tmp_path, capsys, said):
    record = DIFFERENT[said](results("other", SAMPLES))
    other = write(tmp_path / "other", record, targets(SAMPLES))
    assert run(three[0], three[1], other) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kosent-eval compare: {three[0]} and {other}: {said}")


def test_what_may_differ_is_compared(three, tmp_path, capsys):
    settings = {
        "max_new_tokens": 8,
        "few_shot": 2,
        "dtype": "bfloat16",
        "backend": "vllm",
        "chat_template": "0123",
        "baseline": "org/base",
        "seed": 3,
    }
    other = write(tmp_path / "o", results("o", SAMPLES, settings=settings), targets(SAMPLES))
    assert len(document(capsys, three[0], other)["models"]) == 2


def without(column):
    def change(folder):
        path = folder / "samples.parquet"
        pq.write_table(pq.read_table(path).drop_columns([column]), path)

    return change


def of_schema_1(folder):
    path = folder / "results.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"schema_version": 1}), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "results.json").unlink(), "no results.json there; name an output folder"),
        (lambda f: (f / "samples.parquet").unlink(), f"no samples.parquet there; {AGAIN}"),
        (of_schema_1, f"results.json: written by an older kosent-eval; {AGAIN}"),
        (without("stop"), f"samples.parquet: no column 'stop'; {AGAIN}"),
        (
            lambda f: (f / "samples.parquet").write_bytes(b"PAR1"),
            f"samples.parquet: not a whole Parquet file; {AGAIN}",
        ),
        (
            lambda f: pq.write_table(
                pq.read_table(f / "samples.parquet").slice(0, 40), f / "samples.parquet"
            ),
            f"samples.parquet: 40 samples, but results.json has 48; {AGAIN}",
        ),
        (
            lambda f: pq.write_table(
                pq.read_table(f / "samples.parquet").take(list(range(SAMPLES))[::-1]),
                f / "samples.parquet",
            ),
            "column 'sample_id' of samples.parquet differs",
        ),
    ],
)
def test_folders_that_cannot_be_compared_are_one_line(three, tmp_path, capsys, change, said):
    folder = write(tmp_path / "other", results("other", SAMPLES), targets(SAMPLES))
    change(folder)
    assert run(three[0], folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_what_cannot_be_meant_is_one_line(three, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(three[0].parent)
    other = results("other", SAMPLES, primary="bleu")
    write(tmp_path / "other", other, targets(SAMPLES))
    for arguments, said in (
        (["weak"], "kosent-eval compare: fewer than two folders; name two or more"),
        (["weak", "good", "../three0/weak"], "../three0/weak: given twice (it is weak)"),
        (["weak", "nowhere"], "nowhere: no results.json there"),
        (["weak", "good", "--primary-metric", "kindness"], "kindness: no such metric"),
        (["weak", "good", "--primary-metric", "distinct_1"], "cannot be tested"),
        (["weak", "good", "--seed", "-1"], "--seed -1: must be 0 or more"),
        (["weak", "good", "--output", "."], ".: is a folder"),
        (["weak", tmp_path / "other"], "the primary metric differs (chrf and bleu)"),
    ):
        assert run(*arguments) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert run("weak", tmp_path / "other", "--primary-metric", "bleu") == 0


@pytest.mark.slow
def test_a_page_is_written_once_and_holds_all_but_the_corpus(three, found, tmp_path, capsys):
    stem = tmp_path / "new" / "v1.2"
    files = [stem.with_name(f"v1.2.{ending}") for ending in ("md", "png", "html")]
    assert run(*three, "--output", stem) == 0
    told, said = capsys.readouterr()
    assert said.splitlines()[-1] == (
        f"comparison: {files[0]}, {files[1]}, {files[2]}; next: open {files[2]} in a browser"
    )
    assert sorted(stem.parent.iterdir()) == sorted(files)
    written = [path.read_bytes() for path in files]
    markdown, picture, page = written
    assert picture.startswith(b"\x89PNG")
    for text in (told, json.dumps(found, ensure_ascii=False), markdown.decode(), page.decode()):
        assert "org/tuned (few" in text
        assert not any(word in text for word in ("비밀", "속상", "서운", "축하", str(tmp_path)))
    html = page.decode()
    assert "<script" not in html
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|@import|https?:", html)
    assert "prefers-color-scheme: dark" in html
    assert html.count("<table>") == markdown.decode().count("| :-- |") == 3

    files[0].unlink()
    files[2].write_text("mine")
    assert run(*three, "--output", stem) == 2
    assert "is there already; replace it with --overwrite" in capsys.readouterr().err
    assert files[2].read_text() == "mine"
    assert not files[0].exists(), "nothing is written if anything is there"
    assert run(*three, "--output", stem, "--overwrite") == 0
    assert [path.read_bytes() for path in files] == written


def test_names_of_models_are_text_wherever_they_are_written(three, tmp_path, capsys):
    name = "<b>|x|</b>\n[a](http://b)"
    other = write(tmp_path / "o", results(name, SAMPLES), targets(SAMPLES))
    assert run(three[0], other, "--output", tmp_path / "page") == 0
    html = (tmp_path / "page.html").read_text("utf-8")
    markdown = (tmp_path / "page.md").read_text("utf-8")
    assert "<b>" not in html + markdown
    assert "](http" not in markdown
    assert "\n[a]" not in capsys.readouterr().out


@pytest.mark.slow
def test_real_evaluations_keep_their_values(tiny_llama, tmp_path, capsys):
    dataset = write_dataset(tmp_path / "chat", 12)
    template = tmp_path / "plain.jinja"
    template.write_text(
        "{% for message in messages %}{{ message.content }}<|im_end|>{% endfor %}", "utf-8"
    )
    options = ("--embedder", "none", "--max-new-tokens", "8", "--no-safety", "--dtype", "float32")
    folders = [tmp_path / "own", tmp_path / "plain"]
    for folder, more in zip(folders, ((), ("--chat-template", template)), strict=True):
        given = ("--model", tiny_llama, "--dataset", dataset, *options, *more, "--output", folder)
        assert main([str(argument) for argument in given]) == 0
    capsys.readouterr()
    found = compare(folders)
    assert [model.name.split()[0] for model in found.models] == ["tiny-llama"] * 2
    assert "chat_template" in found.models[1].name
    ratios = [model.metrics["length_ratio"].value for model in found.models]
    assert ratios[0] != ratios[1], "two texts for two prompts"
    for folder, model in zip(folders, found.models, strict=True):
        record = read(Results, folder / "results.json")
        for name, metric in model.metrics.items():
            if name.startswith("distinct"):
                continue
            assert metric.value == pytest.approx(record.metrics[name].value)
            assert metric.ci95 == pytest.approx(record.metrics[name].ci95)
            assert metric.n == record.metrics[name].n
            assert metric.signature == record.metrics[name].signature
    for folder in folders:
        record = read(Results, folder / "results.json")
        assert record.metrics.keys() - found.models[0].metrics.keys() == {
            "sentence_bleu_unsmoothed",
            "sentence_bleu_method4",
        }
