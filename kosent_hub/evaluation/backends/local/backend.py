"""The default engine: transformers in this process."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from kosent_hub.evaluation.backends import Reply, TargetScore, decoding, whole
from kosent_hub.evaluation.backends.local.batcher import MAX_ROWS, Batcher, token_budget
from kosent_hub.evaluation.backends.local.likelihood import score_targets, score_texts
from kosent_hub.evaluation.backends.local.plain import Batches, plain_replies
from kosent_hub.evaluation.backends.local.probe import fast_reach, plain_batches
from kosent_hub.evaluation.backends.local.sampling import Sampling
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import EXAMPLE, UnusableDialogue
from kosent_hub.models.locate import Located
from kosent_hub.models.machine import device, distributed
from kosent_hub.models.positions import last_position
from kosent_hub.models.weights.load import load_model
from model_card.publishing.errors import KoSentError


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
        self.reach = fast_reach(self.lm)
        pad = model.form.tokenizer.pad_token_id
        # Attention that is plain enough for the batcher takes padding, too.
        self.batches = Batches() if self.reach.tokens else plain_batches(self.lm, pad)
        self.parameters: int | None = self.lm.num_parameters()
        self.engine: dict[str, Any] = {
            "device": device.name(use_cpu=self.lm.device.type == "cpu"),
            "devices": len({weight.device for weight in self.lm.parameters()}),
            "processes": distributed.world_size(),
            "attention": self.lm.config._attn_implementation,
            "batch": {"plain_rows": self.batches.rows},
        }
        if loaded.unused:
            self.engine["adapter_weights_unused"] = loaded.unused
        if self.reach.tokens:
            self.engine["batch"] |= {"tokens": token_budget(self.lm), "rows": MAX_ROWS}

    def check_lengths(self, samples: Sequence[Sample]) -> None:
        """Raise KoSentError if the model has too few positions for a prompt and its reply, or for a
        dialogue with the true one."""
        positions = last_position(self.lm)
        if positions is None:
            return
        prompt = max(len(self.form.prompt(sample.messages)) for sample in samples)
        dialogue = max(self._dialogue_length(sample) for sample in samples)
        longest = max(prompt + self.generation["max_new_tokens"], dialogue)
        if longest > positions:
            fits = max(prompt + 1, dialogue) <= positions
            raise KoSentError(
                self.model.id,
                f"has {positions} positions, and the longest prompt and reply need {longest}",
                f"give --max-new-tokens {positions - prompt} or less"
                if fits
                else "evaluate it on shorter dialogues, or take a model with more positions",
            )

    def _dialogue_length(self, sample: Sample) -> int:
        try:
            return max(len(row["input_ids"]) for row in self.form.samples(sample.dialogue))
        except UnusableDialogue:
            return 0  # it is not scored

    def replies(
        self, samples: Sequence[Sample], wanted: Sequence[int], seed: int = 0
    ) -> Iterator[Reply]:
        """The wanted samples' replies as they end, longest prompts first; those whose prompt and
        reply are too long for the batcher come last."""
        encoded = [array("i", self.form.prompt(samples[i].messages)) for i in wanted]
        sampling = Sampling(self.temperature, seed) if self.temperature else None
        new, pad = self.generation["max_new_tokens"], self.form.tokenizer.pad_token_id
        fast = [n for n, ids in enumerate(encoded) if len(ids) + new <= self.reach.tokens]
        plain = [n for n, ids in enumerate(encoded) if len(ids) + new > self.reach.tokens]
        if fast:
            prompts, budget = [encoded[n] for n in fast], self.engine["batch"]["tokens"]
            batcher = Batcher(self.lm, prompts, self.stop, new, budget, sampling, self.reach.window)
            for place, tokens in batcher.run():
                yield self._reply(wanted[fast[place]], tokens, "fast")
        prompts = [encoded[n] for n in plain]
        for place, tokens in plain_replies(
            self.lm, prompts, self.stop, new, pad, sampling, self.batches
        ):
            yield self._reply(wanted[plain[place]], tokens, "plain")

    def _reply(self, index: int, tokens: Sequence[int], path: str) -> Reply:
        text, thought = self.form.reply_text(tokens)
        stop = "stop" if tokens[-1] in self.stop else "length"
        return Reply(index, whole(text, stop), len(tokens), stop, thought, path)

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the true replies, tokenised and counted as in training."""
        return score_targets(self.lm, self.form, samples, frozenset(wanted), self.reach)

    def score_texts(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the targets as plain texts."""
        return score_texts(self.lm, self.form.tokenizer, samples, frozenset(wanted))

    def close(self) -> None:
        """Free the model's memory."""
        del self.lm
        gc.collect()
