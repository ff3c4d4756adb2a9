"""The default engine: transformers in this process."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from kosent_hub.evaluation.backends import Reply, TargetScore
from kosent_hub.evaluation.backends.local.batcher import Batcher, token_budget
from kosent_hub.evaluation.backends.local.likelihood import score_targets
from kosent_hub.evaluation.backends.local.plain import plain_replies
from kosent_hub.evaluation.backends.local.probe import fast_length
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import EXAMPLE
from kosent_hub.models.load import load_model
from kosent_hub.models.locate import Located


class TransformersBackend:
    """Greedy replies and target scores of one model, in batches."""

    def __init__(self, model: Located, max_new_tokens: int) -> None:
        loaded = load_model(model)
        self.lm: Any = loaded.model
        self.model = model.record(loaded.dtype)
        self.identity = model.identity
        self.form = model.form
        self.chat_format = model.form.facts
        self.template_example: str | None = model.form.prompt_text(EXAMPLE)
        self.stop = model.form.stop_ids(self.lm.generation_config)
        self.generation: dict[str, Any] = {
            "do_sample": False,
            "max_new_tokens": max_new_tokens,
            "stop": model.form.tokenizer.convert_ids_to_tokens(sorted(self.stop)),
        }
        self.fast_length = fast_length(self.lm)

    def replies(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Reply]:
        """The wanted samples' replies as they end, longest prompts first."""
        encoded = [array("i", self.form.prompt(samples[i].messages)) for i in wanted]
        new = self.generation["max_new_tokens"]
        if max(map(len, encoded), default=0) + new <= self.fast_length:
            found = Batcher(self.lm, encoded, self.stop, new, token_budget(self.lm)).run()
        else:
            pad = self.form.tokenizer.pad_token_id
            found = plain_replies(self.lm, encoded, self.stop, new, pad)
        for index, tokens in found:
            text, thought = self.form.reply_text(tokens)
            yield Reply(wanted[index], text, len(tokens), thought)

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the true replies, tokenised and counted as in training."""
        return score_targets(self.lm, self.form, samples, frozenset(wanted))

    def close(self) -> None:
        """Free the model's memory."""
        del self.lm
        gc.collect()
