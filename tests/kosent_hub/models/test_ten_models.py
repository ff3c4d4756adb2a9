"""Ten classes of models: one text for training, perplexity and every backend."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosent_hub.evaluation.samples import Sample, load_samples
from kosent_hub.training.samples import encode
from model_card import records
from tests.kosent_hub.ten_models import FAMILIES, REPLY, SYSTEM, Family, dialogue


@pytest.fixture(scope="module", autouse=True)
def engines() -> None:
    """Torch and what needs it: each worker collects this module, and few run it."""
    global \
        AutoModelForCausalLM, \
        AutoTokenizer, \
        EndpointBackend, \
        Located, \
        ModelRef, \
        TransformersBackend
    global locate, spans, torch
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from kosent_hub.evaluation.backends.endpoint import EndpointBackend
    from kosent_hub.evaluation.backends.local.backend import TransformersBackend
    from kosent_hub.evaluation.backends.local.likelihood import spans
    from kosent_hub.models.locate import Located, ModelRef, locate


NEW_TOKENS = 24
UNTAUGHT = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "  비가 와서 <b>우울해</b>  "},
    {"role": "assistant", "content": "비 오는 날은 그렇죠.\n\n따뜻한 차 어때요?"},
    {"role": "user", "content": "좋아!"},
    {"role": "assistant", "content": "Great 😊"},
]
DIALOGUES = [UNTAUGHT, [*UNTAUGHT[1:]], dialogue(5), dialogue(1)]


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with the dialogues as its training and as its test split."""
    folder = tmp_path_factory.mktemp("families")
    (folder / "data").mkdir()
    for split in ("train", "test"):
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table({"messages": DIALOGUES}), path)
    return folder


def found(folder: Path) -> Located:
    return locate(ModelRef(str(folder), dtype="float32"))


def samples_of(dataset: Path, located: Located) -> list[Sample]:
    samples, _, _ = load_samples(str(dataset), "test", forms=[located.form])
    assert len(samples) == 9
    return samples


def by_hand(family: Family, tokenizer: Any, sample: Sample) -> tuple[list[int], list[int]]:
    """The ids of a sample's prompt and of its reply, from what is known of the family."""
    written = f"{family.prefix}{sample.target}{family.end}"
    prompt = family.prompt(tokenizer, list(sample.messages))
    return tuple(tokenizer.encode(text, add_special_tokens=False) for text in (prompt, written))


def test_perplexity_in_a_dialogue_is_that_of_each_reply_alone(name, families, dataset):
    located = found(families / name)
    backend, samples = TransformersBackend(located, NEW_TOKENS), samples_of(dataset, located)
    tokenizer = AutoTokenizer.from_pretrained(families / name)
    scores = {score.index: score for score in backend.score_targets(samples, range(9))}
    for index, sample in enumerate(samples):
        prompt, reply = by_hand(FAMILIES[name], tokenizer, sample)
        ids = torch.tensor([prompt + reply], device=backend.lm.device)
        with torch.inference_mode():
            logits = backend.lm(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        losses = torch.nn.functional.cross_entropy(
            logits.double(), ids[0, len(prompt) :], reduction="none"
        )
        rounding = {"rel": 1e-5, "abs": 1e-5 * len(reply)}
        assert scores[index].tokens == len(reply)
        assert scores[index].nll == pytest.approx(float(losses.sum()), **rounding)


def rows(family: Family) -> int:
    """How many samples the dialogues are."""
    first = {"none": (), "all": ("system", "user"), "with system": ("system",)}
    each = first[family.a_sample_each]
    return sum(len(m) // 2 if m[0]["role"] in each else 1 for m in DIALOGUES)


def check_trained(located: Located, base: Path, family: Family, dataset: Path) -> Any:
    """What is trained of the dialogues, once it is found to be what is asked and known."""
    form, samples = located.form, iter(samples_of(dataset, located))
    encoded = encode(form, DIALOGUES, None, split="train", max_dropped=0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert encoded.counts.samples == rows(family)
    for row in encoded.samples:
        for begin, end in spans(row["labels"]):
            sample = next(samples)
            prompt, reply = by_hand(family, tokenizer, sample)
            assert row["input_ids"][:begin] == form.prompt(sample.messages) == prompt
            assert row["input_ids"][begin:end] == row["labels"][begin:end] == reply
        assert end == len(row["input_ids"])
    assert next(samples, None) is None
    return encoded


def test_what_is_trained_is_what_is_asked_id_for_id(name, families, dataset):
    family, located = FAMILIES[name], found(families / name)
    check_trained(located, families / name, family, dataset)
    facts = located.form.facts
    assert facts["system"] == ("folded" if family.folded else "written")
    ended = "next role's mark" if name == "glm4" else "written"
    assert (facts["end"], facts["end_of_turn"]) == (family.end, ended)
    assert located.form.arguments == family.asked


@pytest.mark.slow
def test_an_adapter_is_asked_what_it_was_trained_on(
    name, families, dataset, run, nobody, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # an adapter names a base that is a folder by its way from here
    command = (
        f"{sys.executable} -m kosent_hub.train --config smollm2-135m/cpu --dtype float32 "
        "--bf16 false --num_train_epochs 1 --max_steps -1 --eval_strategy no "
        "--gradient_accumulation_steps 1 --output_dir tuned"
    ).split()
    samples = rows(FAMILIES[name])
    command += ["--model_name_or_path", str(families / name), "--dataset_name", str(dataset)]
    command += ["--per_device_train_batch_size", str(-(-samples // 2))]
    done = run(command, cwd=tmp_path, env=nobody)
    assert done.returncode == 0, done.stderr
    tuned = found(tmp_path / "tuned")
    assert tuned.adapter
    encoded = check_trained(tuned, families / name, FAMILIES[name], dataset)
    training = records.read(records.Run, tmp_path / "tuned" / records.RUN_PATH).training
    assert (training.steps, training.samples) == (2, samples)
    assert training.tokens == encoded.counts.tokens
    assert training.learned_tokens == encoded.counts.learned


class Server(http.server.BaseHTTPRequestHandler):
    """OpenAI's chat protocol with a model of transformers: greedy, in the order of requests."""

    tokenizer: Any
    model: Any
    lock: threading.Lock

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions" and asked["temperature"] == 0
        prompt = self.tokenizer.apply_chat_template(
            asked["messages"],
            add_generation_prompt=True,
            return_dict=False,
            return_tensors="pt",
            **asked.get("chat_template_kwargs", {}),
        )
        with self.lock:
            ids = generated(self.model, prompt, asked["max_tokens"])
        content = self.tokenizer.decode(
            after_channel(self.tokenizer, ids), skip_special_tokens=True
        )
        message = {"role": "assistant", "content": content}
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        body = json.dumps(answer | {"usage": {"completion_tokens": len(ids)}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def generated(model: Any, prompt: torch.Tensor, new_tokens: int) -> list[int]:
    """The ids that `generate` chooses after one prompt; its end is the model's own setting."""
    prompt = prompt.to(model.device)
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=new_tokens,
    )
    return out[0, prompt.shape[1] :].tolist()


def after_channel(tokenizer: Any, ids: list[int]) -> list[int]:
    """The ids after gpt-oss's channel, which every server of such models reads; else all."""
    mark = tokenizer.get_vocab().get("<|message|>")
    return ids[ids.index(mark) + 1 :] if mark in ids else ids


@contextmanager
def serving(folder: Path) -> Iterator[type[Server]]:
    """The model behind `Server`; `address` is its URL."""
    kind = type("Own", (Server,), {"lock": threading.Lock()})
    kind.tokenizer = AutoTokenizer.from_pretrained(folder)
    kind.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kind.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield kind
        server.shutdown()


def test_every_backend_gives_the_same_replies(name, families, dataset):
    located = found(families / name)
    samples = samples_of(dataset, located)[:6]
    here = TransformersBackend(located, NEW_TOKENS)
    texts = {reply.index: reply.text for reply in here.replies(samples, range(6))}
    with serving(families / name) as server:
        there = EndpointBackend(located.ref, located.form, NEW_TOKENS, server.address, 2)
        served = {reply.index: reply.text for reply in there.replies(samples, range(6))}
    prompts = [torch.tensor([located.form.prompt(sample.messages)]) for sample in samples]
    plain = [generated(server.model, prompt, NEW_TOKENS) for prompt in prompts]
    assert [texts[i] for i in range(6)] == [located.form.reply_text(ids)[0] for ids in plain]
    assert served == texts
    assert set(REPLY) & set(texts.values()), "no reply that was taught; the test shows less"
    assert len(set(texts.values())) > 1
    # One has attention of its own, the other narrower values than keys.
    assert bool(here.reach.tokens) == (name not in ("gpt-oss", "deepseek-v3"))
