"""Whole cards, and what must hold for every one of them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from hypothesis import example, given, settings
from markdown_it import MarkdownIt

from model_card.conversations import Conversation
from model_card.facts import Facts, gather_folder, relation
from model_card.licenses import LICENSE_NAMES
from model_card.publishing import front_matter
from model_card.publishing.hub_ids import is_hub_id
from model_card.publishing.markdown import plain
from model_card.publishing.sections import find
from model_card.records import (
    Baseline,
    Comparison,
    Dataset,
    EvaluatedDataset,
    Group,
    Repo,
    Results,
    Value,
    eval_path,
)
from model_card.render.card import card_sections, render_facts
from tests.model_card import wild
from tests.model_card.cards import CARDS, RECORDS, card, path
from tests.model_card.publishing.test_markdown import texts
from tests.support.hub.validate import check_card, check_eval_results

# The sections of a card that has every record, in order.
PARTS = [
    section.name.removeprefix("ko-")
    for section in find(card("adapter"))
    if section.name.startswith("ko-")
]
ADAPTER = gather_folder(RECORDS / "adapter")
LLAMA = gather_folder(RECORDS / "llama")


@pytest.mark.parametrize("name", CARDS)
def test_the_whole_card(name):
    assert card(name) == path(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CARDS)
def test_rendering_twice_changes_nothing(name):
    folder, repo_id, language = CARDS[name]
    facts = gather_folder(RECORDS / folder)
    if name == "somebody-elses":
        facts = replace(facts, run=None)
    for again in (language, None):
        text = render_facts(facts, repo_id=repo_id, language=again, existing=card(name))
        assert text == card(name)


@pytest.mark.parametrize("name", CARDS)
def test_the_hub_accepts_its_metadata(name):
    assert check_card(card(name), "model") == ([], [])


def test_korean_comes_first_and_english_follows():
    names = [section.name for section in find(card("adapter"))]
    assert names == [f"ko-{part}" for part in PARTS] + [f"en-{part}" for part in PARTS]


def test_one_language_of_two_can_be_taken_out_again():
    assert render_facts(ADAPTER, repo_id=None, language="ko", existing=card("adapter")) == (
        render_facts(ADAPTER, repo_id=None, language="ko")
    )


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_section_without_its_record_is_left_out(language):
    bare = Facts(run=ADAPTER.run)
    measured = ("evaluation", "conversations")
    assert list(card_sections(bare, None, language)) == [
        f"{language}-{part}" for part in PARTS if part not in measured
    ]
    text = render_facts(bare, repo_id=None, language=language)
    for absent in ("<img", "손실은", "loss fell", "BLEU"):
        assert absent not in text


def compared(few_shot: int, system: str | None) -> Results:
    """The adapter's evaluation in the newest schema, beside a baseline that was told more."""
    (results,) = ADAPTER.results
    assert results.baseline is not None
    protocol = replace(results.protocol, few_shot=few_shot, system_prompt=system)
    comparison = {
        name: replace(found, p_adjusted=0.2, ci95=[-0.5, 1.5], trials=10_000)
        for name, found in results.baseline.comparison.items()
        if name != "perplexity"
    }
    return replace(
        results,
        dataset=replace(results.dataset, sha256="abc"),
        baseline=replace(
            results.baseline, protocol=protocol, comparison=comparison, counts={"truncated": 30}
        ),
        settings={"few_shot": few_shot},
        counts={"truncated": 3},
        primary="chrf",
    )


def test_baselines_stand_side_by_side_with_what_they_were_told():
    system = ADAPTER.results[0].protocol.system_prompt
    both = [compared(0, system), compared(4, "친구야.")]
    text = card_sections(replace(ADAPTER, results=both), None, "en")["en-evaluation"]
    base = ADAPTER.results[0].baseline
    assert base is not None
    assert f"\n| {base.model.id} | " in text
    told = "with 4 training dialogues as examples, under a system message of its own"
    assert f"\n| {base.model.id}, {told} | " in text
    assert "under the same settings, after 4 dialogues of the training split as examples" in text
    alone = card_sections(replace(ADAPTER, results=both[:1]), None, "en")["en-evaluation"]
    assert "on the same samples:" in text and "on the same samples:" not in alone


def test_verdicts_go_by_all_metrics_together_and_cut_replies_are_counted():
    text = card_sections(replace(ADAPTER, results=[compared(0, None)]), None, "en")["en-evaluation"]
    assert "adjusted for all metrics together (Holm's method)" in text
    assert "The metric named beforehand is chrF++." in text
    assert "better<br>" not in text and "p = 0.200" in text
    assert "&#91;−0.50, +1.50&#93;" in text
    assert "cut texts into tokens differently: Perplexity." in text
    samples = ADAPTER.results[0].dataset.samples
    share = f"{100 * 3 / samples:.1f}%"
    assert f"**Cut replies:** 3 of the {samples:,} replies ({share}) did not end" in text
    assert "of those of the model compared with, 30" in text


def test_a_reply_that_was_cut_says_so():
    talk = [Conversation("말", "답은", "네", None, tuned_cut=True), Conversation("말", "답", "네")]
    for lang, mark in (("en", "(cut here)"), ("ko", "(여기서 잘림)")):
        text = card_sections(replace(ADAPTER, conversations=talk), None, lang)
        assert text[f"{lang}-conversations"].count(mark) == 1


def test_examples_of_the_hubs_page_are_whole_replies_to_prompts_of_ours():
    private = Conversation("우리 회사 이야기인데", "네", None)
    cut = replace(ADAPTER.conversations[0], tuned_cut=True)
    facts = replace(ADAPTER, conversations=[private, cut, *ADAPTER.conversations[1:]])
    shown = front_matter.read(render_facts(facts, repo_id=None))["widget"]
    expected = ADAPTER.conversations[1:4]
    assert [example["messages"][-1]["content"] for example in shown] == [c.prompt for c in expected]
    assert [example["output"]["text"] for example in shown] == [c.tuned_reply for c in expected]
    assert all(example["messages"][0]["role"] == "system" for example in shown)
    facts = replace(ADAPTER, conversations=[private])
    assert "widget" not in front_matter.read(render_facts(facts, repo_id=None))


def test_a_run_that_says_little_gives_a_card_that_says_little():
    assert ADAPTER.run is not None
    run = replace(
        ADAPTER.run,
        base_model=Repo("my-base", None, local=True),
        dataset=Dataset("data", local=True),
        config={},
        parameters={},
        versions={},
        system_prompt=None,
        hardware=replace(ADAPTER.run.hardware, peak_memory_gib=None),
    )
    text = render_facts(Facts(run=run), repo_id=None, language="en")
    assert set(front_matter.read(text)) == {"language", "library_name", "pipeline_tag", "tags"}
    assert "`my-base` (read from a local folder, revision unknown)" in text
    assert "The records do not say which system message" in text
    for absent in ("licence, ", "Peak memory", "AI Hub", "AI-Hub", "None", "Trained parameters"):
        assert absent not in text


@pytest.mark.parametrize(
    ("paths", "config", "expected"),
    [
        ({"adapter_config.json", "adapter_model.safetensors"}, "", "adapter"),
        ({"config.json", "model.safetensors"}, '{"model_type": "llama"}', "merge"),
        ({"config.json", "model.safetensors"}, '{"quantization_config": {}}', "quantized"),
        ({"model-Q4_K_M.gguf"}, "", "quantized"),
        (set(), "", "adapter"),
    ],
)
def test_the_relation_to_the_base_follows_from_the_files(paths, config, expected):
    assert relation(frozenset(paths), config, ADAPTER.run) == expected


@pytest.mark.parametrize(
    ("kind", "library", "loader"),
    [
        ("adapter", "peft", "AutoPeftModelForCausalLM"),
        ("finetune", "transformers", "AutoModelForCausalLM"),
        ("merge", "transformers", "AutoModelForCausalLM"),
        ("quantized", "transformers", "AutoModelForCausalLM"),
    ],
)
def test_metadata_and_code_fit_the_kind_of_repo(kind, library, loader):
    text = render_facts(replace(LLAMA, relation=kind), repo_id="kosent/Llama-x", language="en")
    assert front_matter.read(text)["library_name"] == library
    assert front_matter.read(text)["base_model_relation"] == kind
    assert f"{loader}.from_pretrained" in text


def test_llama_cpp_is_shown_only_where_its_files_are():
    with_gguf = replace(LLAMA, relation="quantized", paths=frozenset({"model.gguf"}))
    text = render_facts(with_gguf, repo_id="kosent/Llama-x", language="en")
    assert "llama-cli -hf kosent/Llama-x" in text
    assert 'file = "model.gguf"' in text and "from_pretrained(model_id, gguf_file=file)" in text
    assert "vllm serve" not in text
    assert "llama-cli" not in card("llama")


def test_credit_follows_the_source_of_the_data():
    assert "NIA" in card("llama") and "aihub.or.kr" in card("llama")
    assert "NIA" not in card("adapter") and "지어낸 대화" in card("adapter")


def test_a_card_that_a_trainer_wrote_is_replaced_and_one_a_person_touched_is_not():
    theirs = wild.trl()
    ours = render_facts(ADAPTER, repo_id=None)
    assert render_facts(ADAPTER, repo_id=None, existing=theirs) == ours
    touched = theirs.replace("## Quick start", "Ask me anything about it.\n\n## Quick start")
    text = render_facts(ADAPTER, repo_id=None, existing=touched)
    assert "Ask me anything about it." in text and "## Quick start" in text


def test_pefts_empty_card_is_replaced():
    text = render_facts(ADAPTER, repo_id=None, existing=wild.peft())
    assert "More Information Needed" not in text


def test_other_peoples_scores_stay_and_ours_are_replaced():
    text = card("somebody-elses").replace("value: 2.93", "value: 1.11")
    theirs = {
        "task": {"type": "text-generation"},
        "dataset": {"type": "their/data", "name": "theirs"},
        "metrics": [{"type": "bleu", "value": 99.0}],
    }
    data = front_matter.read(text)
    data["model-index"][0]["results"].insert(0, theirs)
    text = front_matter.merge(text, {}).replace(
        front_matter.split(text)[0], f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n"
    )
    facts = replace(LLAMA, run=None)
    after = front_matter.read(render_facts(facts, repo_id="bob/Korean-Chat-7B", existing=text))
    assert after["model-index"][0]["results"][0] == theirs
    assert after["model-index"][0]["results"][1]["metrics"][0]["value"] == 2.93
    assert len(after["model-index"][0]["results"]) == 2


def test_one_value_for_each_task_of_the_hubs_own_form():
    from model_card.render.model_index import eval_results

    (ours,) = LLAMA.results
    other = replace(ours, dataset=replace(ours.dataset, split="validation"))
    newer = replace(ours, created="2100-01-01T00:00:00+00:00")
    limited = replace(newer, settings={"limit": 5})
    older = replace(ours, created="2000-01-01T00:00:00+00:00", metrics={})
    assert eval_results([other, limited], "kosent/Llama-x") is None  # no task of eval.yaml means it
    beside = replace(older, settings={"baseline": "a/b"}, metrics=ours.metrics)
    assert eval_results([limited, beside], "kosent/Llama-x") is not None  # its own scores are usual
    made = eval_results([other, limited, older, ours, beside], "kosent/Llama-x")
    assert check_eval_results(made.decode()) == []
    entries = yaml.safe_load(made)
    assert {"split" in entry["notes"] and entry["notes"][:4] for entry in entries} == {"test"}
    assert entries[0]["dataset"] == {
        "id": "kosent/emotional-dialogues",
        "task_id": "bleu",
        "revision": "3f8d1c0b7a6e5d4c3b2a19080706050403020100",
    }
    assert entries[0]["value"] == 2.93
    assert "limit" not in made.decode()
    assert eval_results(ADAPTER.results, "kosent/x") is None  # its dataset is a folder


def test_evaluations_with_other_settings_stand_beside_and_are_told_apart():
    (ours,) = LLAMA.results
    limited = replace(ours, settings={"limit": 5, "embedder": "none"}, baseline=None)
    seeded = replace(ours, settings={"seed": 1})
    assert eval_path(ours) == "kosent/eval/kosent--emotional-dialogues--test.json"
    assert len({eval_path(r) for r in (ours, limited, seeded)}) == 3
    facts = replace(LLAMA, results=[ours, limited, seeded])
    text = render_facts(facts, repo_id="kosent/Llama-x", language="en")
    assert [line for line in text.splitlines() if line.startswith("### kosent/")] == [
        "### kosent/emotional-dialogues · test",
        "### kosent/emotional-dialogues · test · embedder none, limit 5",
        "### kosent/emotional-dialogues · test · seed 1",
    ]
    assert "with `embedder none, limit 5`" in text
    overview = [line for line in text.splitlines() if line.startswith("| kosent/emotional")]
    assert len(overview) == 3


def _hostile(facts: Facts, text: str) -> Facts:
    """The facts with every free text in them replaced."""
    run, results = facts.run, facts.results[0]
    assert run is not None and results.baseline is not None
    run = replace(
        run,
        model_name=text,
        base_model=Repo(text, text),
        dataset=Dataset(text, text, False, {text: 3}, text),
        recipe=text,
        config={"lora_r": text, "learning_rate": text, "lr_scheduler_type": text},
        template_sha256=text,
        hardware=replace(run.hardware, device=text),
        versions={text: text},
        created=text,
        command=text,
        quantization=text,
        system_prompt=text,
        template_kwargs={"date_string": text, text: text},
    )
    metric = replace(results.metrics["bleu"], unit=text, signature=text)
    model = replace(results.model, id=text, revision=text, base_model=text, dtype=text)
    results = Results(
        model=model,
        dataset=EvaluatedDataset(text, text.replace("/", ""), 1, 2, text),
        protocol=replace(
            results.protocol,
            system_prompt=text,
            template_sha256=text,
            generation={text: text},
            normalization=text,
            template_example=text,
            template=text,
            engine={text: text},
        ),
        metrics={"bleu": metric, text: metric},
        speed=replace(results.speed, backend=text),
        versions={text: text},
        created=text,
        by_emotion={text: Group(40, {"bleu": Value(1.0, ci95=[0.0, 2.0])})},
        references={text: Group(40, {"bleu": Value(1.0, range=[0.0, 2.0])}, draws=20)},
        baseline=Baseline(model, {"bleu": metric}, {"bleu": Comparison(1.0, 1.0, 0.01)}),
        settings={text: text},
        counts={"truncated": 1},
        primary=text,
        resampling={text: text},
        task_version=text,
        code={text: text},
    )
    talk = [Conversation(text, text, text, text)]
    return replace(facts, run=run, results=[results] * 2, conversations=talk, license=text or None)


def _means_something(text: str) -> bool:
    """Whether a card rightly looks different with this text: a Hub id, a licence, a source."""
    words = {*LICENSE_NAMES, "aihub-86", "kosent-sample"}
    return text in words or is_hub_id(text)


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
QUIET = _hostile(LLAMA, "quiet")


def _shape(text: str) -> list[str]:
    """The card's build: every token but plain text and line breaks, HTML by its tags."""
    import re

    kinds = []
    for token in MARKDOWN.parse(front_matter.split(text)[1]):
        for inner in [token, *(token.children or [])]:
            if inner.type.startswith("html"):
                kinds += re.findall(r"</?[a-z]+", inner.content)
            elif inner.type not in ("text", "text_special", "softbreak", "code_inline"):
                kinds.append(inner.type)
    return [kind for kind in kinds if kind not in ("<br",)]


@settings(max_examples=30, deadline=None)
@given(text=texts.filter(lambda text: plain(text) and not _means_something(text)))
def test_no_text_of_a_record_changes_the_cards_build(text):
    hostile = render_facts(_hostile(LLAMA, text), repo_id=None, language="en")
    quiet = render_facts(QUIET, repo_id=None, language="en")
    assert _shape(hostile) == _shape(quiet)
    assert [section.name for section in find(hostile)] == [s.name for s in find(quiet)]
    assert not any(section.edited for section in find(hostile))
    assert "model-index" in front_matter.read(hostile)
    assert render_facts(_hostile(LLAMA, text), repo_id=None, existing=hostile) == hostile


@settings(max_examples=50, deadline=None)
@given(texts, texts, texts)
@example("a\n\n<h1>b</h1>\n", "</table>", "c\n\n# d")
def test_replies_stay_in_their_table(prompt, tuned, base):
    talk = [Conversation(prompt, tuned, base)]
    facts = Facts(run=ADAPTER.run, conversations=talk)
    section = card_sections(facts, None, "ko")["ko-conversations"]
    table = section[section.index("<table>") :]
    rendered = MARKDOWN.render(f"before\n\n{table}\n\nafter\n")
    seen = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)
            assert attrs in ([], [("colspan", "2")])

    Tags().feed(rendered)
    assert set(seen) <= {"p", "table", "tr", "th", "td", "b", "br"}
    assert seen.count("td") == 3
    assert rendered.endswith("<p>after</p>\n")


def test_nothing_heavy_is_needed_to_render():
    import subprocess
    import sys

    code = """
import sys
from tests.model_card.cards import card
card("adapter")
print([name for name in ("torch", "transformers", "datasets", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
