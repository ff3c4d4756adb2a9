"""No text from a model or a record can be anything but text in a card."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from model_card.publishing.markdown import code, escape, fenced, html_text, hub_link, plain
from model_card.publishing.sections import MARKER
from model_card.render.score_tables import table

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/a.png)",
    "[click](javascript:alert(1))",
    "a | b | c\n|--|--|--|\n| d",
    "**bold** __bold__ _it_ ~~no~~ `code`",
    "<!-- kosent:end ko-head -->",
    "\n<!-- kosent:begin ko-head 0123456789ab -->\n",
    "\n---\nlicense: mit\n---\n",
    "```\n</code></pre><b>",
    "</td></tr></table><h1>owned</h1>",
    "https://evil.example www.evil.example me@evil.example",
    "$$x$$ \\(y\\) \\[z\\]",
    "# not a heading\n- nor a list\n> nor a quote\n1. one",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "\u202eesrever\u2066\u200b\ufeff\x00\x07",
    "`` ` ``` |`|",
    "{{ 7*7 }}{% raw %}",
]
texts = st.sampled_from(ATTACKS) | st.text(max_size=60) | st.lists(
    st.sampled_from(ATTACKS) | st.sampled_from(list("\\`*_[]()<>|!#~$&\n\r\t-=+.:@ ")), max_size=8
).map("".join)  # fmt: skip

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def kinds(markdown):
    """The types of all tokens of a text, inline ones included."""
    tokens = MARKDOWN.parse(markdown)
    return [inner.type for token in tokens for inner in [token, *(token.children or [])]]


def shown(text):
    """What a reader sees of it: word joiners are invisible."""
    return text.replace("\u2060", "")


@given(texts)
def test_escaped_text_is_only_text_in_a_paragraph(text):
    escaped = escape(text)
    assert "\n" not in escaped
    assert set(kinds(f"before {escaped} after")) <= {
        "paragraph_open", "inline", "text", "text_special", "paragraph_close",
    }  # fmt: skip
    (paragraph,) = re.findall("<p>before (.*)after</p>", MARKDOWN.render(f"before {escaped} after"))
    assert shown(html.unescape(paragraph)).strip() == shown(plain(text))


@given(texts, texts)
def test_escaped_text_stays_in_its_table_cell(one, two):
    rendered = MARKDOWN.render(table(["a", "b"], [[one, two], [code(two), code(one)]]))
    cells = [
        shown(html.unescape(re.sub("</?code>", "", cell))).strip()
        for cell in re.findall(r"<td[^>]*>(.*)</td>", rendered)
    ]
    assert cells == [shown(plain(text)) for text in (one, two, two, one)]
    allowed = {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert {tag.strip("/") for tag in re.findall(r"<(/?\w+)", rendered)} <= allowed


@given(texts)
def test_a_code_span_is_one_code_span(text):
    inner = [kind for kind in kinds(f"x {code(text)} y") if kind not in ("text", "text_special")]
    assert inner in (
        ["paragraph_open", "inline", "code_inline", "paragraph_close"],
        ["paragraph_open", "inline", "paragraph_close"],
    )


@given(texts)
def test_a_code_block_holds_its_text_and_ends(text):
    tokens = MARKDOWN.parse(f"{fenced(text, 'bash')}\n\nafter\n")
    assert [token.type for token in tokens] == [
        "fence", "paragraph_open", "inline", "paragraph_close",
    ]  # fmt: skip


@given(texts)
def test_html_text_shows_what_was_said(text):
    visible = html.unescape(html_text(text).replace("<br>", "\n"))
    lines = [plain(line) for line in text.replace("\r", "\n").split("\n")]
    assert shown(visible) == shown("\n".join(line for line in lines if line))


@given(texts)
def test_no_text_forges_a_marker(text):
    for made in (escape(text), code(text), fenced(text), html_text(text)):
        assert not MARKER.search(f"\n{made}\n")


@given(texts)
def test_nothing_is_left_for_an_autolinker(text):
    # What GitHub's and other renderers turn into links, even outside Markdown's own syntax.
    bare = r"(?i)https?://\w|www\.\w|\w@\w"
    assert not re.search(bare, html.unescape(escape(text)))
    assert not re.search(bare, html.unescape(html_text(text)))


@pytest.mark.parametrize(
    ("repo_id", "link"),
    [
        ("org/name", "[org/name](https://huggingface.co/org/name)"),
        ("org/na me", "`org/na me`"),
        ("x)](javascript:a/b", "`x)](javascript:a/b`"),
        ("../../etc/passwd", "`../../etc/passwd`"),
        ("name", "`name`"),
    ],
)
def test_only_hub_ids_become_links(repo_id, link):
    assert hub_link(repo_id) == link


def test_ordinary_words_stay_readable():
    text = "SmolLM2-135M (r 16, α 32) – 95%: snake_case, a.b, it's “fine”!"
    assert escape(text) == text
