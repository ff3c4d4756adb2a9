"""The default engine: transformers in this process."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from kosent_hub.evaluation.backends import Reply, TargetScore, decoding, whole
from kosent_hub.evaluation.backends.local.batcher import MAX_ROWS, Batcher, token_budget
from kosent_hub.evaluation.backends.local.likelihood import score_targets, score_texts
from kosent_hub.evaluation.backends.local.plain import BATCH, plain_replies
from kosent_hub.evaluation.backends.local.probe import fast_length
from kosent_hub.evaluation.backends.local.sampling import Sampling
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models import device, distributed
from kosent_hub.models.chat_format import EXAMPLE
from kosent_hub.models.load import load_model
from kosent_hub.models.locate import Located


class TransformersBackend:
    """Replies and target scores of one model, in batches; greedy replies at temperature 0."""

    def __init__(self, model: Located, max_new_tokens: int, temperature: float = 0.0) -> None:
        loaded = load_model(model)
        self.lm: Any = loaded.model
        self.model = model.record(loaded.dtype)
        self.identity = model.identity
        self.form = model.form
        self.chat_format = model.form.facts
        self.template_example: str | None = model.form.prompt_text(EXAMPLE)
        self.stop = model.form.stop_ids(self.lm.generation_config)
        self.temperature = temperature
        self.generation: dict[str, Any] = decoding(temperature) | {
            "max_new_tokens": max_new_tokens,
            "stop": model.form.tokenizer.convert_ids_to_tokens(sorted(self.stop)),
        }
        self.fast_length = fast_length(self.lm)
        self.parameters: int | None = self.lm.num_parameters()
        self.engine: dict[str, Any] = {
            "device": device.name(use_cpu=self.lm.device.type == "cpu"),
            "devices": len({weight.device for weight in self.lm.parameters()}),
            "processes": distributed.world_size(),
            "attention": self.lm.config._attn_implementation,
            "batch": {"plain_rows": BATCH},
        }
        if self.fast_length:
            self.engine["batch"] |= {"tokens": token_budget(self.lm), "rows": MAX_ROWS}

    def replies(
        self, samples: Sequence[Sample], wanted: Sequence[int], seed: int = 0
        if loaded.unused:
            self.engine["adapter_weights_unused"] = loaded.unused
    ) -> Iterator[Reply]:
        """The wanted samples' replies as they end, longest prompts first; those whose prompt and
        reply are too long for the batcher come last."""
        encoded = [array("i", self.form.prompt(samples[i].messages)) for i in wanted]
        sampling = Sampling(self.temperature, seed) if self.temperature else None
        new, pad = self.generation["max_new_tokens"], self.form.tokenizer.pad_token_id
        fast = [n for n, ids in enumerate(encoded) if len(ids) + new <= self.fast_length]
        plain = [n for n, ids in enumerate(encoded) if len(ids) + new > self.fast_length]
        if fast:
            prompts, budget = [encoded[n] for n in fast], self.engine["batch"]["tokens"]
            batcher = Batcher(self.lm, prompts, self.stop, new, budget, sampling)
            for place, tokens in batcher.run():
                yield self._reply(wanted[fast[place]], tokens, "fast")
        prompts = [encoded[n] for n in plain]
        for place, tokens in plain_replies(self.lm, prompts, self.stop, new, pad, sampling):
            yield self._reply(wanted[plain[place]], tokens, "plain")

    def _reply(self, index: int, tokens: Sequence[int], path: str) -> Reply:
        text, thought = self.form.reply_text(tokens)
        stop = "stop" if tokens[-1] in self.stop else "length"
        return Reply(index, whole(text, stop), len(tokens), stop, thought, path)

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the true replies, tokenised and counted as in training."""
        return score_targets(self.lm, self.form, samples, frozenset(wanted))

    def score_texts(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the targets as plain texts."""
        return score_texts(self.lm, self.form.tokenizer, samples, frozenset(wanted))

    def close(self) -> None:
        """Free the model's memory."""
        del self.lm
        gc.collect()
