"""Front matter: our keys in, other people's lines as they wrote them."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from model_card.publishing.errors import KoSentError
from model_card.publishing.front_matter import OUR_TASK, merge, read, split

THEIRS = """\
---
# chosen with care
license: mit  # until the base is known
tags:
- friendly

# a note on the picture
thumbnail: "https://example.org/a.png"
extra_gated_prompt: |
  Be kind.
  # not a comment
---
# Title

Body.
"""


def result(dataset="kosent/dialogues", value=1.0, task=OUR_TASK, split="test", name="dialogues"):
    return {
        "task": {"type": "text-generation", "name": task},
        "dataset": {"type": dataset, "name": name, "split": split},
        "metrics": [{"type": "bleu", "value": value}],
    }


def index(*results, name="model"):
    return [{"name": name, "results": list(results)}]


def test_our_keys_are_set_and_every_other_line_stays():
    assert merge(THEIRS, {"license": "llama3.1", "tags": ["korean"], "base_model": "a/b"}) == (
        THEIRS.replace("license: mit  # until the base is known", "license: llama3.1")
        .replace("- friendly\n", "- friendly\n- korean\n")
        .replace("  # not a comment\n---", "  # not a comment\nbase_model: a/b\n---")
    )


def test_nothing_new_touches_nothing():
    assert merge(THEIRS, {"license": "mit", "tags": ["friendly"]}) == THEIRS


def test_a_readme_without_metadata_gets_some():
    assert merge("# Title\n", {"license": "mit"}) == "---\nlicense: mit\n---\n\n# Title\n"


def test_a_byte_order_mark_and_windows_lines_stay():
    text = "\ufeff" + THEIRS.replace("\n", "\r\n")
    merged = merge(text, {"license": "gemma"})
    assert merged.startswith("\ufeff---\r\n# chosen with care\r\nlicense: gemma\r\n")
    assert "\n" not in merged.replace("\r\n", "")


def test_a_single_language_becomes_a_list_with_ours():
    assert read(merge("---\nlanguage: en\n---\n", {"language": ["ko"]}))["language"] == ["en", "ko"]


def test_flow_style_metadata_is_written_out():
    assert read(merge("---\n{license: mit, x: [1]}\n---\n", {"license": "gemma"})) == {
        "license": "gemma",
        "x": [1],
    }


def test_our_score_replaces_ours_and_other_peoples_stay():
    theirs = result(task="Text Generation", value=9.0)
    before = merge("", {"model-index": index(theirs, result(value=1.0), name="their name")})
    after = read(merge(before, {"model-index": index(result(value=2.0))}))
    assert after["model-index"] == index(theirs, result(value=2.0), name="their name")


def test_scores_on_another_dataset_or_split_or_with_other_settings_stand_beside():
    text = merge("", {"model-index": index(result())})
    text = merge(text, {"model-index": index(result(dataset="other/data"))})
    text = merge(text, {"model-index": index(result(split="validation"))})
    text = merge(text, {"model-index": index(result(name="dialogues (limit 5)"))})
    assert len(read(text)["model-index"][0]["results"]) == 4


@pytest.mark.parametrize("broken", [None, "text", [], [3], [{"name": "x"}], [{"results": None}]])
def test_a_broken_model_index_is_no_obstacle(broken):
    text = f"---\n{yaml.safe_dump({'model-index': broken})}---\n"
    merged = read(merge(text, {"model-index": index(result())}))
    assert result() in merged["model-index"][0]["results"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\nlicense: mit\ntags: [a\n---\n", "line [34]: metadata is not valid YAML"),
        ("---\n- a\n---\n", "line 2: metadata is not a list of `key: value` lines"),
    ],
)
def test_unreadable_metadata_is_refused_with_its_line(text, message):
    with pytest.raises(KoSentError, match=message):
        merge(text, {"license": "mit"})


keys = st.from_regex(r"[a-z][a-z_-]{0,10}", fullmatch=True)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=60)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@example(theirs={"a": "\x85", "b": "\u2028"}, body="")
@given(theirs=st.dictionaries(keys, values, max_size=5), body=st.text(max_size=50))
def test_any_value_survives_and_no_value_breaks_out(theirs, body):
    theirs = {key: value for key, value in theirs.items() if key not in ("language", "tags")}
    text = merge(body.lstrip().lstrip("-"), theirs)
    assert read(text) == theirs
    merged = merge(text, {"license": "mit", "x-note": "a\n---\nb: <script>"})
    assert read(merged) == theirs | {"license": "mit", "x-note": "a\n---\nb: <script>"}
    assert split(merged)[1] == split(text)[1]
    assert merge(merged, {"license": "mit", "x-note": "a\n---\nb: <script>"}) == merged
