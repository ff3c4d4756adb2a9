"""What the tasks in this folder need of lm-eval: the samples, prompts, requests and scores.

kosent-data wrote this file beside `test.jsonl`; it needs nothing but lm-eval. A sample is one reply
of a dialogue: the model is given all that was said before it, by its own chat template.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from sacrebleu.metrics import CHRF


def load(**_: Any) -> dict[str, datasets.Dataset]:
    """The samples: `id`, `messages` that end with a user's, and `targets`, good replies."""
    lines = (Path(__file__).parent / "test.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return {"test": datasets.Dataset.from_list(rows)}


class Replies(ConfigurableTask):
    """A reply to each sample, compared with its true replies."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={name: config[name] for name in config if name != "class"})

    def fewshot_context(
        self,
        doc: dict[str, Any],
        *_: Any,
        apply_chat_template: bool = False,
        chat_template: Callable[..., str] | None = None,
        **__: Any,
    ) -> str:
        """The sample's prompt: lm-eval itself knows no history before a user's message."""
        if not apply_chat_template or chat_template is None:
            raise ValueError(f"{self.config.task} is about chat models: add --apply_chat_template")
        return chat_template(doc["messages"])

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """The reply beside the true ones, without half a character at the limit of new tokens."""
        return {"chrf": (_whole(results[0]), doc["targets"])}


class Likelihood(Replies):
    """How likely a model finds the first true reply and the end of its turn."""

    def construct_requests(
        self, doc: dict[str, Any], ctx: str, chat_template: Any = None, **kwargs: Any
    ) -> list[Instance]:
        """The true reply after the prompt.

        lm-eval counts white space at a prompt's end as part of what follows. So what it counts too
        much is asked for as well, to be taken off.
        """
        model = chat_template.__self__
        pairs = [(ctx, _completion(model, ctx, doc))]
        text = ctx.rstrip()
        if text != ctx:
            pairs.append((text, ctx[len(text) :]))
        kwargs = {name: kwargs[name] for name in kwargs if name != "apply_chat_template"}
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=pair, idx=place, **kwargs)
            for place, pair in enumerate(pairs)
        ]

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """The log-likelihood beside the reply's length in UTF-8 bytes."""
        found, *space = (likelihood for likelihood, _ in results)
        size = len(doc["targets"][0].encode())
        return {"bits_per_byte": (found - sum(space), size)}


def chrf(items: Sequence[tuple[str, list[str]]]) -> float:
    """Corpus chrF++ of pairs of a reply and its true replies, of which the best one counts."""
    replies = [_nfc(reply) for reply, _ in items]
    most = max(len(targets) for _, targets in items)
    streams: list[list[Any]] = [
        [_nfc(targets[place]) if place < len(targets) else None for _, targets in items]
        for place in range(most)
    ]
    return CHRF(word_order=2).corpus_score(replies, streams).score


def bits_per_byte(items: Sequence[tuple[float, int]]) -> float:
    """Bits per byte of all pairs of a log-likelihood (base e) and a number of bytes."""
    return -sum(found for found, _ in items) / math.log(2) / sum(size for _, size in items)


def _completion(model: Any, prompt: str, doc: dict[str, Any]) -> str:
    """The first true reply and the token that ends the turn, as the template writes them."""
    messages = [*doc["messages"], {"role": "assistant", "content": doc["targets"][0]}]
    arguments = getattr(model, "chat_template_args", {})
    text = model.tokenizer.apply_chat_template(messages, tokenize=False, **arguments)
    special = [t.content for t in model.tokenizer.added_tokens_decoder.values() if t.special]
    end = re.search("|".join(map(re.escape, special)) or "(?!)", text[len(prompt) :])
    if not text.startswith(prompt) or end is None:
        raise ValueError(f"{doc['id']}: the chat template writes no reply after this prompt")
    return text[len(prompt) : len(prompt) + end.end()]


def _whole(reply: str) -> str:
    return reply.strip().rstrip("\ufffd").rstrip()


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
