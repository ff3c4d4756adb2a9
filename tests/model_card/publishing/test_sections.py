"""People's text around our sections, and inside them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_card.publishing.errors import KoSentError
from model_card.publishing.sections import MARKER, edits, find, merge

NAMES = ["ko-head", "ko-training", "en-head", "en-use"]
OURS = {"ko-head": "# 모델\n\n설명", "en-head": "# Model\n\nwords"}

lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=40)
prose = st.lists(lines, max_size=6).map("\n".join).filter(lambda text: not MARKER.search(text))
texts = prose.map(lambda text: f"## part\n\n{text}\n\nend")
parts = st.dictionaries(st.sampled_from(NAMES), texts, min_size=1).map(
    lambda found: {name: found[name] for name in NAMES if name in found}
)


def test_a_new_card_has_the_sections_in_order():
    assert merge(None, OURS) == (
        "<!-- kosent:begin ko-head 9a5a6f915931 -->\n\n# 모델\n\n설명\n\n"
        "<!-- kosent:end ko-head -->\n\n"
        "<!-- kosent:begin en-head 002f9ff65a2a -->\n\n# Model\n\nwords\n\n"
        "<!-- kosent:end en-head -->\n"
    )


@given(existing=prose, first=parts, second=parts)
@example(existing="\n\n\n", first={"ko-head": "a"}, second={"en-head": "b"})
@example(existing="mine\n\n\n", first={"ko-head": "a"}, second={"en-head": "b"})
def test_what_people_write_around_survives_every_merge(existing, first, second):
    once = merge(existing, first)
    assert once.startswith(existing)
    assert merge(once, first) == once
    twice = merge(once, second)
    assert twice.startswith(existing)
    assert merge(twice, second) == twice
    assert {section.name: section.text for section in find(twice)} == {
        name: text.strip("\n") for name, text in second.items()
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@given(existing=prose, after=prose, first=parts, second=parts)
@example(existing="\n\n\n", after="", first=OURS, second={})
@example(existing="mine\n\n\n", after="", first=OURS, second={})
@example(existing="", after="", first=OURS, second={})
@example(existing="", after="\n\nyours", first=OURS, second={"en-use": "a"})
@example(existing="mine\n", after="\nyours\n\n", first=OURS, second={"ko-training": "a"})
def test_sections_that_are_removed_leave_nothing_behind(newline, existing, after, first, second):
    existing, after = (text.replace("\n", newline) for text in (existing, after))
    if newline == "\r\n":
        existing = f"intro{newline}{existing}"
    text = merge(existing, first) + after
    # Only a last line without a line end gets one: before a section, or when one followed it.
    before = ended(existing, newline)
    assert merge(text, {}) == before + after
    assert merge(merge(text, second), {}) in {before + after, ended(before + after, newline)}


def ended(text, newline):
    return text if not text or text.endswith(newline) else text + newline


def others(text):
    """The lines outside our sections, without the blank ones between them and us."""
    position, lines = 0, []
    for section in find(text):
        lines += text[position : section.start].split("\n")
        position = section.end
    return [line for line in lines + text[position:].split("\n") if line]


@given(between=texts, after=prose, first=parts, second=parts)
def test_what_people_write_between_survives_every_merge(between, after, first, second):
    text = merge(None, first).replace("\n\n<!-- kosent:b", f"\n\n{between}\n<!-- kosent:b") + after
    merged = merge(text, second)
    assert others(merged) == others(text)
    assert merge(merged, second) == merged


@given(existing=prose, sections=parts)
def test_windows_line_ends_stay(existing, sections):
    text = "intro\r\n" + existing.replace("\n", "\r\n")
    merged = merge(text, sections)
    assert merged.startswith(text)
    assert "\n" not in merged.replace("\r\n", "")
    assert merge(merged, sections) == merged


def test_a_section_keeps_the_place_people_gave_it():
    swapped = merge(merge("mine", {"en-head": OURS["en-head"]}) + "\nyours\n\n", {})
    assert swapped == "mine\n\nyours\n\n"
    text = merge(merge("mine\n", {"en-head": "a"}) + "\nyours\n", {"en-head": "b"})
    assert text.index("mine") < text.index("\nb\n") < text.index("yours")


def test_a_new_section_goes_beside_its_neighbour():
    text = merge(merge(None, {"ko-head": "a", "en-use": "z"}) + "\nyours\n", OURS | {"en-use": "z"})
    assert [section.name for section in find(text)] == ["ko-head", "en-head", "en-use"]
    text = merge(merge(None, {"en-head": "a"}) + "\nyours\n", OURS)
    assert [section.name for section in find(text)] == ["ko-head", "en-head"]


def test_an_edit_inside_is_kept_and_shown_until_ours_is_asked_for():
    edited = merge(None, OURS).replace("설명", "설명과 나의 한마디")
    assert merge(edited, OURS) == edited
    assert edits(edited, OURS).splitlines() == [
        "--- README.md, ko-head: as it is",
        "+++ README.md, ko-head: from the records",
        "@@ -1,3 +1,3 @@",
        " # 모델",
        " ",
        "-설명과 나의 한마디",
        "+설명",
    ]
    assert merge(edited, OURS, replace_edits=True) == merge(None, OURS)


def test_an_edit_that_says_what_we_say_now_is_no_edit():
    edited = merge(None, OURS).replace("설명", "새 설명")
    new = OURS | {"ko-head": "# 모델\n\n새 설명"}
    assert edits(edited, new) == ""
    assert merge(edited, new) == merge(None, new)


def test_an_edited_section_is_not_dropped_with_its_record():
    edited = merge(None, OURS).replace("words", "words, and mine")
    assert "words, and mine" in merge(edited, {"ko-head": OURS["ko-head"]})


def test_a_section_emptied_by_hand_stays_empty():
    text = merge(None, OURS).replace("\n\n# Model\n\nwords\n\n", "\n")
    assert merge(text, OURS) == text


def test_markers_without_a_hash_count_as_edited():
    text = "<!-- kosent:begin ko-head -->\nmine\n<!-- kosent:end ko-head -->\n"
    assert merge(text, OURS).startswith(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n<!-- kosent:begin ko-head -->\ny\n", "line 2: the marker kosent:begin ko-head"),
        ("<!-- kosent:end ko-head -->\n", "line 1: the marker kosent:end ko-head has no"),
        (
            "<!-- kosent:begin a -->\n<!-- kosent:begin b -->\n<!-- kosent:end b -->\n",
            "line 1: the marker kosent:begin a has no end marker before",
        ),
        (
            "<!-- kosent:begin a -->\n<!-- kosent:end b -->\n",
            "line 1: the marker kosent:begin a has no counterpart",
        ),
        (
            "<!-- kosent:begin a -->\n<!-- kosent:end a -->\n" * 2,
            "line 3: a second section 'a'; delete one",
        ),
    ],
)  # fmt: skip
def test_markers_out_of_order_are_refused_with_their_line(text, message):
    with pytest.raises(KoSentError, match=message):
        merge(text, OURS)


def test_a_marker_inside_our_own_text_is_a_bug():
    with pytest.raises(ValueError, match="a marker inside its text"):
        merge(None, {"ko-head": "text\n<!-- kosent:end ko-head -->"})
