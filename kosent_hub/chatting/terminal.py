"""A chat in the terminal, or through a pipe: replies on stdout, all else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from kosent_hub.chatting.conversation import Message, Turn, as_line, in_need, messages_of, save
from kosent_hub.chatting.partner import Partners, Settings
from kosent_hub.chatting.words import crisis_lines, notices
from model_card.publishing.errors import KoSentError, user_error
from model_card.publishing.files import decode_text

HELP = """\
/again       다시 답하기 · another reply to what you said last
/reset       새 대화 · begin a new conversation
/save FILE   대화를 JSONL 파일에 저장 · add this conversation to a JSONL file
/help        이 도움말 · this help
Ctrl-C       답 멈추기 · stop the reply
Ctrl-D       끝내기 · end"""

# What a terminal acts on: a reply is only shown.
CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def talk(partners: Partners, settings: Settings) -> None:
    """A chat until stdin ends.

    Where stdin is a terminal, Ctrl-C stops the reply and what goes wrong is a line; else every line
    is a turn, and what goes wrong is raised.
    """
    session = _Session(partners, settings)
    _tell(f"{partners.model.name}\n{notices(partners.sent_to)}")
    if not sys.stdin.isatty():
        for line in _piped():
            session.take(line)
        return
    _tell(HELP)
    for line in _typed():
        try:
            session.take(line)
        except KeyboardInterrupt:
            _tell("")
        except Exception as error:
            found = user_error(error)
            if found is None:
                raise
            _tell(str(found))


@dataclass
class _Session:
    """The conversation so far, and the line that it was last saved as."""

    partners: Partners
    settings: Settings
    turns: list[Turn] = field(default_factory=list)
    saved: str | None = None
    need: bool = False

    @property
    def messages(self) -> list[Message]:
        """The conversation as the model is given it."""
        return messages_of(self.turns, 0, self.partners.system_prompt)

    def take(self, line: str) -> None:
        """A line of the user: a command, or what they say."""
        name, _, rest = line.partition(" ")
        if name in COMMANDS:
            COMMANDS[name](self, rest.strip())
        elif name.startswith("/"):
            raise KoSentError(name, "no such command", "/help lists them")
        elif line:
            self.turns.append(Turn(line, ("",)))
            self.reply()

    def again(self, _: str) -> None:
        """Another reply to the last turn."""
        if not self.turns:
            raise KoSentError("/again", "nothing was said yet")
        self.turns[-1] = Turn(self.turns[-1].said, ("",))
        self.reply()

    def reset(self, _: str) -> None:
        """A new conversation."""
        self.turns, self.saved = [], None
        _tell("새 대화 · a new conversation")

    def save(self, name: str) -> None:
        """The conversation in a file."""
        if not name:
            raise KoSentError("/save", "names no file", "write /save FILE")
        if not self.turns:
            raise KoSentError("/save", "nothing was said yet")
        path = Path(name).expanduser()
        line = as_line(self.partners.model.name, self.messages)
        save(path, line, self.saved)
        self.saved = line
        _tell(f"저장됨 · saved: {path}")

    def help(self, _: str) -> None:
        """The commands."""
        _tell(HELP)

    def reply(self) -> None:
        """Ask the model and print its reply as it comes; a stopped one is kept as far as it is."""
        self.need = self.need or in_need(self.turns)
        if self.need:
            _tell(crisis_lines())
        stopped, shown = Event(), ""
        try:
            for text in self.partners.model.reply(self.messages, self.settings, stopped):
                new, shown = text[len(shown) :], text
                print(new.translate(CONTROLS), end="", flush=True)
        finally:
            stopped.set()
            self.turns[-1] = Turn(self.turns[-1].said, (shown,))
            print(flush=True)
        if not shown:
            _tell("(답이 비어 있습니다 · an empty reply; /again)")


COMMANDS: dict[str, Callable[[_Session, str], None]] = {
    "/again": _Session.again,
    "/reset": _Session.reset,
    "/save": _Session.save,
    "/help": _Session.help,
}


def _typed() -> Iterator[str]:
    """The lines that are typed, with a history by arrow keys, until Ctrl-D."""
    import readline  # noqa: F401  input() edits lines once it is there

    while True:
        try:
            line = input("> " if sys.stdout.isatty() else "").strip()
            yield line.encode("utf-8", "replace").decode()  # bytes that were no UTF-8
        except KeyboardInterrupt:
            _tell("")
        except EOFError:
            _tell("")
            return


def _piped() -> Iterator[str]:
    """The lines of stdin; raises KoSentError for one that is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        yield decode_text(line, f"stdin, line {number}").strip()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
