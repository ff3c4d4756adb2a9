"""The page as a Gradio app."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

import gradio as gr

from kosent_hub.chatting.conversation import Turn, as_line, messages_of
from kosent_hub.chatting.page.talks import Talk, Talks, shown
from kosent_hub.chatting.partner import Partner, Partners, Settings
from kosent_hub.chatting.words import LABELS, LANGUAGES, NAMES, NOTICE
from kosent_hub.evaluation.safety.crisis import crisis_line
from model_card.publishing.errors import user_error

# Seconds between two pictures of a reply that is being written. More than a browser can draw would
# keep it from its buttons.
FRAME_SECONDS = 0.2
LONGEST_TEXT, LONGEST_REPLY, HOTTEST = 8000, 2048, 2.0
FONTS = (
    *("Pretendard", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR", "Noto Sans CJK KR"),
    *("NanumGothic", "system-ui", "sans-serif"),
)

# A tab's own number outlives a reload of the page, and no other tab has it. A browser that lets a
# page inside another one store nothing has a new number at each load.
TAB = """() => {
    try {
        let tab = sessionStorage.getItem("kosent-chat");
        if (!tab) { tab = crypto.randomUUID(); sessionStorage.setItem("kosent-chat", tab); }
        return [tab];
    } catch { return [crypto.randomUUID()]; }
}"""
# Gradio writes the name of a group of switches beside it, and does not say that it is the name.
LANG = """name => {
    document.documentElement.lang = name === "English" ? "en" : "ko";
    const group = document.querySelector("#language");
    group.querySelector("[data-testid=block-info]").id = "language-name";
    group.setAttribute("aria-labelledby", "language-name");
}"""
# Enter that ends a syllable in an input method does not send the text.
HEAD = """<script>
for (const type of ["keydown", "keypress"]) {
    document.addEventListener(type, event => {
        if (event.key === "Enter" && event.isComposing) event.stopImmediatePropagation();
    }, true);
}
</script>
<style>
/* Not in page.css: what stands there holds inside of this element alone. */
@media (max-width: 640px) { .gradio-container .main { padding: .75rem !important; } }
</style>"""
# The file is made in the browser: nothing is written on the server's side.
DOWNLOAD = """lines => {
    if (!lines) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines], {type: "application/jsonl"}));
    link.download = "kosent-chat.jsonl";
    link.click();
    URL.revokeObjectURL(link.href);
}"""


def static(name: str) -> str:
    """The text of a file beside this module."""
    return (resources.files("kosent_hub.chatting.page") / name).read_text("utf-8")


def theme() -> gr.themes.Base:
    """Gradio's own look with fonts of the reader's machine; others it would fetch."""
    return gr.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace"))


def build(partners: Partners, settings: Settings, places: Mapping[str, str]) -> gr.Blocks:
    """The app; it replies as `settings` say until the user changes them on the page.

    `places` says in each language where the texts go.
    """
    return _Page(partners, settings, places).blocks


class _Page:
    """The components, what they do, and the talks they show."""

    def __init__(self, partners: Partners, settings: Settings, places: Mapping[str, str]) -> None:
        self.partners: list[Partner] = [partners.model]
        if partners.other is not None:
            self.partners.append(partners.other)
        self.places = places
        self.talks = Talks()
        # Components whose words change with the language, and the parameters that hold them.
        self.spoken: list[tuple[gr.Component | gr.blocks.BlockContext, str, str]] = []
        title = f"kosent-chat: {partners.model.name}"
        with gr.Blocks(title=title, analytics_enabled=False, fill_width=True) as self.blocks:
            self._lay_out(partners, settings)
            self._connect()

    def _lay_out(self, partners: Partners, settings: Settings) -> None:
        self.named, self.tab = gr.Textbox(visible=False), gr.State("")
        # Hidden, and in the page: the browser keeps no value of a component that is not.
        self.lines = gr.Textbox(visible="hidden")
        with gr.Column(elem_id="top"):
            self.notice = gr.HTML(_notice("ko"))
            self.crisis = gr.HTML(visible=False)
        languages = gr.Radio(list(NAMES.values()), value=NAMES["ko"], elem_id="language")
        self.language = self._say(languages, label="language")
        self.chats, self.columns = [], []
        with gr.Row(elem_id="columns"):
            for number, partner in enumerate(self.partners):
                with gr.Column(min_width=300) as column:
                    chat = gr.Chatbot(
                        label=partner.name,
                        height="55vh",
                        editable="user",
                        render_markdown=False,
                        sanitize_html=True,
                        latex_delimiters=[],
                        buttons=["copy"],
                        allow_tags=False,
                        elem_id=f"chat-{number}",
                    )
                    self.chats.append(self._say(chat, placeholder="empty"))
                self.columns.append(column)
        self.error = gr.HTML(visible=False)
        self.box = self._say(
            gr.Textbox(lines=1, max_lines=8, max_length=LONGEST_TEXT, elem_id="said"),
            label="said",
            placeholder="placeholder",
        )
        with gr.Row(elem_id="actions"):
            self.send = self._say(gr.Button(variant="primary", min_width=80), value="send")
            self.stop = self._say(gr.Button(min_width=80, interactive=False), value="stop")
            self.again = self._say(gr.Button(min_width=80), value="again")
            self.new = self._say(gr.Button(min_width=80), value="new")
            self.save = self._say(gr.Button(min_width=80), value="save")
        with self._say(gr.Accordion(open=False, elem_id="settings"), label="settings"):
            self.system = self._say(
                gr.Textbox(partners.system_prompt, lines=2, max_length=LONGEST_TEXT), label="system"
            )
            self.temperature = self._say(
                gr.Slider(0, max(HOTTEST, settings.temperature), settings.temperature, step=0.05),
                label="temperature",
            )
            self.length = self._say(
                gr.Slider(
                    1, max(LONGEST_REPLY, settings.max_new_tokens), settings.max_new_tokens, step=1
                ),
                label="length",
            )
            self.beside = self._say(
                gr.Checkbox(len(self.partners) > 1, visible=len(self.partners) > 1), label="beside"
            )
        self.place = gr.HTML(_place(self.places["ko"]))

    def _say(self, component: Any, **words: str) -> Any:
        """The component in Korean; `words` are the names of its texts by parameter."""
        for parameter, word in words.items():
            self.spoken.append((component, parameter, word))
            setattr(component, parameter, LABELS["ko"][word])
        return component

    def _connect(self) -> None:
        how = [self.tab, self.system, self.temperature, self.length, self.beside]
        view = [*self.chats, self.crisis, self.error, self.stop]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        many = quiet | {"concurrency_limit": None}
        gr.on(
            [self.box.submit, self.send.click],
            self._on_said,
            [self.box, *how],
            [self.box, *view],
            trigger_mode="multiple",
            **many,
        )
        self.again.click(self._on_again, how, view, **many)
        for number, chat in enumerate(self.chats):
            chat.edit(self._on_edit(number), how, view, **many)
            chat.clear(self._on_new, self.tab, [self.box, *view], queue=False, **quiet)
        self.stop.click(self._on_stop, self.tab, None, queue=False, **quiet)
        self.new.click(self._on_new, self.tab, [self.box, *view], queue=False, **quiet)
        self.save.click(self._on_save, [self.tab, self.system], self.lines, **quiet).then(
            None, self.lines, None, js=DOWNLOAD
        )
        if len(self.partners) > 1:
            self.beside.change(self._on_beside, self.beside, self.columns[1], queue=False, **quiet)
        worded = list(dict.fromkeys(component for component, _, _ in self.spoken))
        self.language.change(
            self._on_language,
            [self.tab, self.language],
            [self.notice, self.crisis, self.place, *worded],
            queue=False,
            **quiet,
        ).then(None, self.language, None, js=LANG)
        self.blocks.load(
            self._on_load,
            self.named,
            [self.tab, self.language, *view],
            js=TAB,
            queue=False,
            **quiet,
        ).then(None, self.language, None, js=LANG)

    # What happens.

    def _on_said(self, said: str, tab: str, *how: Any) -> Iterator[Any]:
        talk = self.talks.of(tab)
        if not said.strip():
            yield [gr.skip()] * (1 + len(self._view(talk)))
            return
        turn = Turn(_text(said), ("",) * len(self.partners))
        for view in self._replies(talk, [*talk.turns, turn], *how):
            yield ["", *view]

    def _on_again(self, tab: str, *how: Any) -> Iterator[Any]:
        talk = self.talks.of(tab)
        if not talk.turns:
            yield self._view(talk)
            return
        turns = [*talk.turns[:-1], replace(talk.turns[-1], replies=("",) * len(self.partners))]
        yield from self._replies(talk, turns, *how)

    def _on_edit(self, partner: int) -> Callable[..., Iterator[Any]]:
        def edited(
            tab: str, system: Any, temperature: Any, length: Any, beside: Any, change: gr.EditData
        ) -> Iterator[Any]:
            talk = self.talks.of(tab)
            owners = shown(talk.turns, partner)[1]
            index = change.index if isinstance(change.index, int) else change.index[0]
            if not str(change.value).strip() or index >= len(owners):
                yield self._view(talk)
                return
            turn = Turn(_text(str(change.value)), ("",) * len(self.partners))
            turns = [*talk.turns[: owners[index]], turn]
            yield from self._replies(talk, turns, system, temperature, length, beside)

        return edited

    def _on_stop(self, tab: str) -> None:
        self.talks.of(tab).stopped.set()

    def _on_new(self, tab: str) -> list[Any]:
        talk = self.talks.of(tab)
        talk.begin([])
        return ["", *self._view(talk)]

    def _on_save(self, tab: str, system: str) -> str:
        turns = self.talks.of(tab).turns
        return "".join(
            as_line(partner.name, messages_of(turns, number, system))
            for number, partner in enumerate(self.partners)
            if any(turn.replies[number] for turn in turns) or (turns and number == 0)
        )

    def _on_beside(self, beside: bool) -> Any:
        return gr.update(visible=beside)

    def _on_language(self, tab: str, name: str) -> list[Any]:
        talk = self.talks.of(tab)
        talk.language = next(code for code in LANGUAGES if NAMES[code] == name)
        words: dict[Any, dict[str, str]] = {}
        for component, parameter, word in self.spoken:
            words.setdefault(component, {})[parameter] = LABELS[talk.language][word]
        return [
            _notice(talk.language),
            self._crisis(talk),
            _place(self.places[talk.language]),
            *(gr.update(**texts) for texts in words.values()),
        ]

    def _on_load(self, tab: str) -> list[Any]:
        talk = self.talks.of(tab)
        talk.stopped.set()
        return [tab, NAMES[talk.language], *self._view(talk)]

    def _replies(
        self,
        talk: Talk,
        turns: list[Turn],
        system: str,
        temperature: float,
        length: int,
        beside: bool,
    ) -> Iterator[list[Any]]:
        """The view again and again while the partners reply to the last of the turns."""
        mine = talk.begin(turns)
        settings = Settings(float(temperature), int(length))
        asked = self.partners if beside else self.partners[:1]
        error, seen = "", 0.0
        yield self._view(talk, replying=True)
        try:
            for number, partner in enumerate(asked):
                if mine.is_set():
                    break
                messages = messages_of(turns, number, system)
                for reply in partner.reply(messages, settings, mine):
                    if not talk.put(mine, number, reply):
                        return
                    if time.monotonic() - seen > FRAME_SECONDS:
                        seen = time.monotonic()
                        yield [*self._columns(talk), *[gr.skip()] * 3]
        except Exception as fault:
            found = user_error(fault)
            if found is None:
                raise
            error = str(found)
        if talk.stopped is mine:
            yield self._view(talk, error=error)

    def _columns(self, talk: Talk) -> list[Any]:
        return [shown(talk.turns, number)[0] for number in range(len(self.partners))]

    def _view(self, talk: Talk, *, replying: bool = False, error: str = "") -> list[Any]:
        alert = f'<p class="error" role="alert">{html.escape(error)}</p>'
        return [
            *self._columns(talk),
            self._crisis(talk),
            gr.update(value=alert, visible=bool(error)),
            gr.update(interactive=replying),
        ]

    def _crisis(self, talk: Talk) -> Any:
        line = html.escape(crisis_line(talk.language))
        return gr.update(value=f'<p class="crisis" role="alert">{line}</p>', visible=talk.need)


def _notice(language: str) -> str:
    return f'<p class="notice" role="note">{html.escape(NOTICE[language])}</p>'


def _place(said: str) -> str:
    return f'<p class="place">{html.escape(said)}</p>'


def _text(said: str) -> str:
    """What was said; half a surrogate pair is no text."""
    return said.strip().encode("utf-8", "replace").decode()
