"""Who replies: a model and, on the page, its base or another model beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event, Thread
from typing import Protocol

from kosent_hub.chatting.options import Options
from kosent_hub.evaluation.safety.crisis import in_crisis
from kosent_hub.models.chat_format import EXAMPLE, Messages
from kosent_hub.models.locate import Located, ModelRef, locate, run_record, template_in


@dataclass(frozen=True)
class Settings:
    """How replies are made: `temperature` 0 takes the most likely tokens, as kosent-eval does."""

    temperature: float
    max_new_tokens: int


class Partner(Protocol):
    """A model that replies."""

    @property
    def name(self) -> str:
        """Its Hub id, or its folder's name."""
        ...

    def reply(self, messages: Messages, settings: Settings, stopped: Event) -> Iterator[str]:
        """The reply so far, again and again, and at the end all of it; "" for an empty reply.

        Ends soon after `stopped` is set, with the part that there is. Raises KoSentError for what
        the user can fix.
        """
        ...


@dataclass(frozen=True)
class Partners:
    """Who replies, who replies beside it (None: nobody), and the system message of both.

    `sent_to` is the address of the server that the texts go to, None where they stay in this
    process.
    """

    model: Partner
    other: Partner | None
    system_prompt: str
    sent_to: str | None = None


def load_partners(options: Options) -> Partners:
    """The partners that the options name, their weights loaded or their server reached.

    On the page an adapter's base is the other partner, unless there is a baseline: the same
    weights with the adapter switched off. Raises KoSentError, one line, for what cannot be loaded.
    """
    # The rules take a second or two to be read: done here, the first reply does not wait for them.
    Thread(target=in_crisis, args=("",), daemon=True).start()
    if options.endpoint is not None:
        return _at_endpoint(options, options.endpoint)
    from kosent_hub.chatting.local import load

    located = locate(_ref(options, options.model, options.revision))
    switched = located.adapter and not options.terminal and options.baseline is None
    model, other = load(located, with_base=switched)
    if options.baseline is not None:
        other, _ = load(locate(_ref(options, options.baseline)), with_base=False)
    return Partners(model, other, _system_prompt(options, located))


def _at_endpoint(options: Options, url: str) -> Partners:
    from kosent_hub.chatting.remote import RemotePartner
    from kosent_hub.evaluation.backends.endpoint import locate_served
    from kosent_hub.models.data import outside

    outside.assert_may_talk(url, options.i_may_send_this_text)
    refs = [_ref(options, options.model, options.revision)]
    refs += [_ref(options, options.baseline)] if options.baseline is not None else []
    located = [locate_served(ref) for ref in refs]
    settings = Settings(options.temperature, options.max_new_tokens)
    found = [
        RemotePartner(ref, None if place is None else place.form, url, settings)
        for ref, place in zip(refs, located, strict=True)
    ]
    system, sent_to = _system_prompt(options, located[0]), outside.without_secrets(url)
    return Partners(found[0], found[1] if found[1:] else None, system, sent_to)


def _ref(options: Options, name: str, revision: str | None = None) -> ModelRef:
    return ModelRef(
        name,
        revision,
        options.dtype,
        template_in(options.chat_template),
        options.trust_remote_code,
        options.new_chat_format,
    )


def _system_prompt(options: Options, located: Located | None) -> str:
    """The one that is asked for, else that of the model's training, else that of this project."""
    if options.system_prompt is not None:
        return options.system_prompt
    record = {} if located is None else run_record(located.model_id, located.repo)
    recorded = record.get("system_prompt", EXAMPLE[0]["content"])
    return recorded if isinstance(recorded, str) else ""
