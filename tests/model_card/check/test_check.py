"""What `kosent-card check` finds, in cards of ours and in shapes found in the wild."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache

import pytest

from model_card.check.card import CheckedCard
from model_card.check.checks import check
from model_card.facts import gather_folder
from model_card.publish import plots
from model_card.render.card import render_facts
from model_card.run_folder import write_card
from tests.model_card import wild
from tests.model_card.cards import LLAMA, RECORDS

LLAMA_PATHS = {"LICENSE", "USE_POLICY.md", "NOTICE", "kosent/run.json"}


def found(text, name="someone/Model-1B", paths=None, **more):
    """(line, level, code) of every finding."""
    card = CheckedCard(
        text, name, pushed=True, paths=None if paths is None else frozenset(paths), **more
    )
    return [(f.line, f.level, f.code) for f in check(card)]


def codes(text, **more):
    return [code for _, _, code in found(text, **more)]


@cache
def rendered():
    """The facts of our Llama model as they stand in its repo, and its card."""
    facts = gather_folder(RECORDS / "llama")
    facts = replace(facts, paths=frozenset(facts.paths | LLAMA_PATHS | plots(facts).keys()))
    return facts, render_facts(facts, repo_id=LLAMA)


def ours(**changes):
    """Our Llama card as it stands in its repo, with the text changed."""
    facts, text = rendered()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return CheckedCard(
        text,
        LLAMA,
        pushed=True,
        paths=facts.paths,
        facts=facts,
        read=lambda path: (RECORDS / "llama" / path).read_bytes(),
    )


def test_our_own_card_in_its_repo_is_without_fault():
    assert check(ours()) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"license: llama3.1": "license: mit"}, "license-differs"),
        ({"**Built with Llama": "**Made with Llama"}, "llama-built-with"),
        ({"base_model_relation: adapter": "base_model_relation: merge"}, "relation-wrong"),
        ({"library_name: peft": "library_name: transformers"}, "library-wrong"),
        ({"base_model: meta-llama/Llama-3.1-8B-Instruct": "base_model: a/b"}, "base_model-differs"),
        (
            {"한국지능정보사회진흥원": "기관", "NIA": "-", "Information Society": "-"},
            "credit-aihub",
        ),
        ({"kosent/plots/loss.png": "kosent/plots/gone.png"}, "image-broken"),
        ({"[kosent/run.json](kosent/run.json)": "[run](kosent/ran.json)"}, "link-broken"),
        ({'alt="학습 손실 곡선"': 'alt=""'}, "image-alt"),
        ({"(#english)": "(#englisch)"}, "anchor-broken"),
        ({"print(tokenizer.decode(": "print(tokenizer.decode(("}, "code-broken"),
        ({"1,033": "1,034"}, "section-edited"),
        ({"<!-- kosent:end ko-head -->": ""}, "marker-broken"),
        ({"\nlicense: llama3.1": "\nlicence: llama3.1"}, "metadata-key"),
        (
            {"\nlicense: llama3.1": f"\nnew_version: {LLAMA}\nlicense: llama3.1"},
            "new_version-itself",
        ),
        ({"\nlicense: llama3.1": "\nnew_version: ./newer\nlicense: llama3.1"}, "new_version-id"),
        ({"      split: test\n": ""}, "score-split"),
        ({"language:": "tags: []\nlanguage:"}, "metadata-twice"),
    ],
)
def test_one_thing_wrong_is_one_thing_found(change, code):
    assert code in {finding.code for finding in check(ours(**change))}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("newversion", "new_version"),
        ("extra_gated_feilds", "extra_gated_fields"),
        ("widgets", "widget"),
        ("Tags", "tags"),
        ("library", "library_name"),
        ("pipeline", "pipeline_tag"),
        ("base-model-relation", "base_model_relation"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(written, meant):
    (finding,) = check(ours(**{"\nlicense: llama3.1": f"\n{written}: x\nlicense: llama3.1"}))
    assert (finding.code, finding.remedy) == ("metadata-key", f"did you mean {meant}?")


@pytest.mark.parametrize("key", ["new_version", "extra_gated_prompt", "inference", "quantized_by"])
def test_keys_of_the_hub_and_of_others_are_left_alone(key):
    assert check(ours(**{"\nlicense: llama3.1": f"\n{key}: a/b\nlicense: llama3.1"})) == []


def test_a_card_older_than_its_records_is_found():
    card = ours()
    stale = CheckedCard(
        **{**card.__dict__, "facts": gather_folder(RECORDS / "merged"), "text": card.text}
    )
    assert "card-stale" in {finding.code for finding in check(stale)}


# Cards found in the wild


def test_trls_own_card():
    assert found(wild.trl(), paths={"adapter_config.json"}, name="alice/out") == [
        (1, "error", "license-missing"),
        (1, "warning", "language-missing"),
        (1, "warning", "pipeline_tag-missing"),
        (2, "warning", "relation-missing"),
        (3, "error", "library-wrong"),
        (9, "warning", "metadata-key"),
        (11, "warning", "limits-missing"),
    ]


def test_pefts_own_card():
    text = wild.peft()
    listed = found(text, paths={"adapter_config.json"})
    assert [code for _, level, code in listed if level == "error"] == [
        "base_model-missing",
        "license-missing",
    ]
    (line,) = [line for line, _, code in listed if code == "placeholder"]
    assert "Model Card for Model ID" in text.splitlines()[line - 1]


def test_a_llama_relicensed_with_scores_out_of_thin_air():
    paths = {"adapter_config.json", "README.md"}
    assert found(wild.RELICENSED, name="someone/KoComfort-8B", paths=paths) == [
        (1, "error", "llama-file"),
        (1, "error", "llama-file"),
        (1, "error", "llama-file"),
        (1, "error", "llama-name"),
        (2, "error", "license-differs"),
        (3, "warning", "language-code"),
        (5, "warning", "relation-missing"),
        (6, "error", "library-wrong"),
        (8, "warning", "credit-dataset"),
        (11, "error", "llama-built-with"),
        (11, "warning", "limits-missing"),
        (13, "error", "credit-aihub"),
        (13, "error", "credit-aihub"),
        (13, "warning", "help-missing"),
        (15, "error", "score-protocol"),
        (15, "warning", "score-bleu"),
        (22, "error", "code-broken"),
        (26, "error", "image-broken"),
        (28, "error", "link-broken"),
    ]


def test_a_quantised_repo_with_its_makers_folders():
    paths = {"model-Q4_K_M.gguf", "README.md"}
    assert found(wild.QUANTISED, paths=paths) == [
        (3, "error", "relation-wrong"),
        (15, "error", "machine-path"),
    ]


def test_metadata_that_no_parser_ever_saw():
    assert found(wild.MERGED) == [
        (4, "error", "metadata-invalid"),
        (6, "warning", "limits-missing"),
    ]


def test_a_careful_card_in_somebody_elses_words_is_left_alone():
    assert found(wild.CAREFUL, paths={"model.safetensors", "config.json"}) == []


def test_a_token_and_a_corpus_row():
    listed = found(wild.LEAKY, paths={"samples.parquet"})
    assert [entry for entry in listed if entry[1] == "error"] == [
        (1, "error", "corpus-file"),
        (9, "error", "secret"),
        (11, "error", "corpus-text"),
    ]


# The pieces


@pytest.mark.parametrize(
    ("block", "broken"),
    [
        ("```python\n>>> x = 1\n>>> x\n1\n```", False),
        ("```python\n!pip install x\n%cd y\nx = 1\n```", False),
        ("```python\ndef f(:\n```", True),
        ("```json\n{'a': 1}\n```", True),
        ("```yaml\na: [1\n```", True),
        ("```bash\necho 'hello\n```", True),
        ("```bash\n# it's a comment\necho hello\n```", False),
        ("```\ndef f(:\n```", False),
        ("```rust\nfn main( {\n```", False),
    ],
)
def test_code_blocks_are_parsed_as_what_they_say_they_are(block, broken):
    assert ("code-broken" in codes(f"# T\n\n{block}\n")) == broken


@pytest.mark.parametrize("call", ["109로 전화하세요", "call 109", "1577-0199에"])
def test_a_help_line_is_found_also_before_a_particle(call):
    assert "help-missing" not in codes(f"# 공감하는 모델\n\n{call}\n")
    assert "help-missing" in codes("# 공감하는 모델\n\n1090번\n")


def test_a_code_blocks_fault_has_the_line_in_the_file():
    text = "---\nlicense: mit\n---\n# T\n\n```python\nx = 1\ny = = 2\n```\n"
    assert (8, "error", "code-broken") in found(text)


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a1B2" * 8,
        "AKIA" + "ABCDEFGH12345678",
        "ghp_" + "a1B2" * 9,
        "sk-" + "a1B2" * 8,
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_secrets_are_found_and_never_repeated(secret):
    card = CheckedCard(f"# T\n\nMy key is {secret}\n", "a/b")
    (finding,) = [finding for finding in check(card) if finding.code == "secret"]
    assert finding.line == 3
    assert secret not in finding.message + finding.remedy


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("/home/minsu/model", True),
        ("C:\\Users\\minsu", True),
        ("https://example.org/home/page", False),
        ("org/home/model", False),
    ],
)
def test_paths_of_a_machine_are_found(text, is_path):
    assert ("machine-path" in codes(f"# T\n\nsee {text}\n")) == is_path


# The command


def test_a_fresh_card_passes(run, tmp_path):
    folder = tmp_path / "SmolLM2-135M-KoSent"
    shutil.copytree(RECORDS / "adapter", folder)
    write_card(folder, None, None)
    done = run(["kosent-card", "check", folder])
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(": 0 errors, 0 warnings\n")


def test_findings_are_lines_and_the_status_says_so(run, tmp_path):
    (tmp_path / "README.md").write_text(wild.QUANTISED, encoding="utf-8")
    done = run(["kosent-card", "check", tmp_path])
    assert done.returncode == 2
    assert done.stdout == (
        "README.md:15: error: the path of somebody's machine: /home/minsu… [machine-path]\n"
        "    say it without that path\n"
    )
    assert done.stderr == f"kosent-card: {tmp_path}: 1 errors, 0 warnings\n"


def test_json_is_one_document(run, tmp_path):
    (tmp_path / "README.md").write_text(wild.MERGED, encoding="utf-8")
    done = run(["kosent-card", "check", tmp_path, "--json"])
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert (document["errors"], document["warnings"]) == (1, 1)
    assert document["findings"][0] == {
        "line": 4,
        "level": "error",
        "code": "metadata-invalid",
        "message": "not valid YAML: expected ',' or ']', but got '<stream end>'",
        "remedy": "fix it",
    }


def test_a_sentence_of_the_corpus_is_found_whereever_it_stands(run, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    said = "오늘은 정말 아무하고도 말하고 싶지 않은 날이야."
    (tmp_path / "data").mkdir()
    rows = [[{"role": "user", "content": said}, {"role": "assistant", "content": "네."}]]
    parquet.write_table(pa.table({"messages": rows}), tmp_path / "data" / "train-0.parquet")
    text = wild.CAREFUL + f"\n> {said}\n\n네.\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    done = run(["kosent-card", "check", tmp_path, "--corpus", tmp_path])
    assert done.returncode == 2
    assert "README.md:22: error: a sentence of the corpus (27 characters)" in done.stdout
    assert said not in done.stdout + done.stderr


def test_a_repo_on_the_hub_is_checked_with_its_files_and_its_base(run, hub):
    hub.create("org/base", files={"README.md": b"---\nlicense: gemma\n---\n# Base\n"})
    text = wild.CAREFUL.replace("HuggingFaceTB/SmolLM2-135M-Instruct", "org/base")
    text = text.replace("pipeline_tag: text-generation", "pipeline_tag: talking")
    files = {"README.md": text.encode(), "model.safetensors": b"", "config.json": b"{}"}
    hub.create("bob/Maum-135M", files=files)
    done = run(["kosent-card", "check", "bob/Maum-135M", "--json"], env=hub.env())
    findings = json.loads(done.stdout)["findings"]
    terms = ["gemma-file", "gemma-file", "gemma-restrictions"]
    assert sorted(f["code"] for f in findings) == [*terms, "hub", "license-differs"]
    assert done.returncode == 2


def test_what_is_not_there_is_said_in_one_line(run, hub, tmp_path):
    for source, line in {
        "nowhere": "kosent-card: nowhere: no such folder, and not a Hub id (ORG/NAME)\n",
        str(tmp_path): f"kosent-card: {tmp_path}/README.md: no card there; "
        f"write it with kosent-card render {tmp_path}\n",
    }.items():
        done = run(["kosent-card", "check", source], env=hub.env(), cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
