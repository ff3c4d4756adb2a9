"""The engines' promises: batches change nothing, adapters are active, nothing is run unasked."""

import copy
import hashlib
import json
import shutil
import sys
from array import array
from collections import Counter
from contextlib import contextmanager

import pytest

from kosent_hub.evaluation.options import Options
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.store import CompletionStore
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.adapters import write_adapter


def import_engines() -> None:
    """Import torch and what needs it; each worker collects this module, and few run it."""
    global AutoConfig, AutoModelForCausalLM, AutoTokenizer, Batcher, ModelRef, PeftModel, REPLY_STEP
    global STACK, TransformersBackend, collect, count_parameters, fast_reach, locate, plain_replies
    global Reach, Window
    global Sampling, plan, tokenizer_facts, torch
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from kosent_hub.evaluation.backends.local.backend import TransformersBackend
    from kosent_hub.evaluation.backends.local.batcher import Batcher, plan
    from kosent_hub.evaluation.backends.local.cache import REPLY_STEP, STACK
    from kosent_hub.evaluation.backends.local.masks import Window
    from kosent_hub.evaluation.backends.local.plain import plain_replies
    from kosent_hub.evaluation.backends.local.probe import Reach, fast_reach
    from kosent_hub.evaluation.backends.local.sampling import Sampling
    from kosent_hub.evaluation.replies import collect
    from kosent_hub.models.locate import ModelRef, locate
    from kosent_hub.models.tokenizer import tokenizer_facts
    from kosent_hub.models.weights.load import count_parameters


@pytest.fixture(scope="module", autouse=True)
def engines() -> None:
    import_engines()


NEW_TOKENS = 12
TINY = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
# Windows are shorter than most prompts.
MODELS = {
    "llama": TINY,
    "mistral": TINY | {"sliding_window": 20},
    "qwen2": TINY,
    "qwen3": TINY | {"head_dim": 8},
    "gemma2": TINY | {"head_dim": 8, "sliding_window": 256},
    "gemma3_text": TINY | {"head_dim": 8, "sliding_window": 20, "layer_types": KINDS},
    "phi3": TINY | {"pad_token_id": 0},
    "gpt2": {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512},
    "gpt_neox": TINY,
}
# To the batcher these are as llama or gemma3_text is.
ALIKE = {"mistral", "qwen2", "qwen3", "gemma2", "phi3", "gpt_neox"}
PLAIN = {"gemma2"}  # caps its attention scores, which neither sdpa nor the batcher does


def tiny(kind, seed=0, dtype=None, **changes):
    torch.manual_seed(seed)
    dtype = dtype or torch.float32
    settings = MODELS.get(kind, TINY) | {"eos_token_id": 1, "bos_token_id": 2} | changes
    config = AutoConfig.for_model(kind, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    for weight in model.parameters():  # far from uniform, so that replies differ and some end
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def dialogues(count=9, seed=0):
    """Prompts of one to three turns, each a prefix of the next, all with the same beginning."""
    draw = torch.Generator().manual_seed(seed)

    def some(low, high):
        length = int(torch.randint(low, high, (1,), generator=draw))
        return torch.randint(3, 300, (length,), generator=draw).tolist()

    system, prompts = some(9, 10), []
    for number in range(count):
        text = list(system)
        for _ in range(1 + number % 3):
            text += some(3, 30)
            prompts.append(array("i", text))
    return prompts


def one_at_a_time(model, prompts, stop=1, new_tokens=NEW_TOKENS):
    replies = []
    for prompt in prompts:
        ids = torch.tensor([prompt.tolist()])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=stop,
            pad_token_id=0,
        )
        replies.append(out[0, len(prompt) :].tolist())
    return replies


def plain(model, prompts, stop=1, new_tokens=NEW_TOKENS, sampling=None):
    stops = frozenset([stop])
    found = dict(plain_replies(model, prompts, stops, new_tokens, pad=0, sampling=sampling))
    return [found[i] for i in range(len(prompts))]


def in_batches(model, prompts, budget, stop=1, new_tokens=NEW_TOKENS, sampling=None):
    window = fast_reach(model).window
    batcher = Batcher(model, prompts, frozenset([stop]), new_tokens, budget, sampling, window)
    found = dict(batcher.run())
    return [found[i] for i in range(len(prompts))]


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind in ALIKE else ()) for kind in MODELS],
)
def test_batches_of_any_size_give_the_tokens_of_one_at_a_time(kind):
    model, prompts = tiny(kind), dialogues(6)
    expected = one_at_a_time(model, prompts)
    stop = expected[3][4]  # a token that some replies hold and some do not
    expected = one_at_a_time(model, prompts, stop)
    assert len({len(reply) for reply in expected}) > 1, "no reply ends early; the test shows less"
    assert plain(model, prompts, stop) == expected
    assert bool(fast_reach(model).tokens) == (kind not in PLAIN)
    for budget in (1, 300, 1000, 100_000) if kind not in PLAIN else ():
        assert in_batches(model, prompts, budget, stop) == expected, budget


def test_a_drawn_reply_depends_on_its_prompt_and_the_seed_alone():
    model, prompts = tiny("llama"), dialogues(3)
    drawn = [plain(model, prompts, sampling=Sampling(5.0, seed)) for seed in (0, 1)]
    for seed, free in enumerate(drawn):
        sampling, stop = Sampling(5.0, seed), free[3][4]
        expected = [cut_at(reply, stop) for reply in free]
        assert len({len(reply) for reply in expected}) > 1
        assert plain(model, prompts, stop, sampling=sampling) == expected
        assert plain(model, prompts[2:3], stop, sampling=sampling) == expected[2:3]
        for budget in (1, 300, 100_000):
            assert in_batches(model, prompts, budget, stop, sampling=sampling) == expected, budget
    assert all(first != second for first, second in zip(*drawn, strict=True))
    assert len({tuple(reply) for reply in drawn[0]}) == len(prompts)


def cut_at(reply, stop):
    return reply[: reply.index(stop) + 1] if stop in reply else reply


def test_tokens_are_drawn_as_often_as_the_temperature_says():
    scores, count = torch.tensor([0.0, 1.0, 2.0, -torch.inf, 6.0]), 5_000
    sampling = Sampling(3.0, seed=0)
    streams = [sampling.stream(array("i", [n]), torch.device("cpu")) for n in range(count)]
    tokens = sampling.draw(scores.expand(count, 5), streams)
    shares = torch.bincount(tokens, minlength=5) / count
    expected = (scores / 3).softmax(dim=0)
    assert shares[3] == 0
    assert (shares - expected).abs().max() < 0.028  # four standard errors
    colder = Sampling(0.001, seed=0).draw(scores.expand(100, 5), streams[:100])
    assert set(colder.tolist()) == {4}


def test_prompts_of_every_shape_are_answered():
    model = tiny("llama")
    alone = [array("i", [5])]
    twins = [array("i", [5, 6, 7]), array("i", [5, 6, 7]), array("i", [5, 6])]
    unrelated = [array("i", [5, 6, 7, 8]), array("i", [9])]
    for prompts in (alone, twins, unrelated, []):
        assert in_batches(model, prompts, 100) == one_at_a_time(model, prompts)


def test_a_dialogues_turns_are_computed_once():
    prompts = [array("i", p) for p in ([1, 2, 3], [1, 2, 9, 4, 5], [1, 2, 9, 4, 5, 6, 7], [1, 8])]
    found = [(prefix.tokens.tolist(), sorted(prefix.samples)) for prefix in plan(prompts, range(4))]
    # The first prompt's last token differs from the prefix's: only its beginning is shared.
    assert found == [([1, 2, 9, 4, 5, 6], [0, 1, 2, 3])]


@pytest.mark.slow
def test_shared_prefix_attention_is_the_models_own_to_rounding():
    exact, prompts, new_tokens = tiny("llama"), dialogues(80), 2 * REPLY_STEP + 4
    assert len(plan(prompts, range(len(prompts)))) > STACK
    free = one_at_a_time(exact, prompts[:8], new_tokens=new_tokens)
    (stop, _), *_ = Counter(token for reply in free for token in reply).most_common()
    expected = plain(exact, prompts, stop, new_tokens)
    assert expected[:8] == one_at_a_time(exact, prompts[:8], stop, new_tokens)
    # Replies end at any time, so that slots empty, their room grows and, with the longest, shrinks.
    lengths = sorted(len(reply) for reply in expected)
    assert len(set(lengths)) > REPLY_STEP
    assert lengths[0] < lengths[len(lengths) // 2] < lengths[-1] == new_tokens
    for budget in (1000, 100_000):  # a few rows, and several stacks of prefixes
        assert in_batches(exact, prompts, budget, stop, new_tokens) == expected, budget
    assert exact.config._attn_implementation == "sdpa"
    assert fast_reach(tiny("llama", dtype=torch.bfloat16)).tokens


def test_how_far_the_fast_path_goes():
    assert fast_reach(tiny("gemma3_text")) == Reach(512, Window(20, tuple(sorted(set(KINDS)))))
    assert fast_reach(tiny("mistral")) == Reach(512, Window(20))
    assert fast_reach(tiny("mistral", sliding_window=None)) == Reach(512)
    assert fast_reach(tiny("qwen2")) == Reach(512)
    # Its own code keeps a window that our masks do not know of: right up to its size only.
    model = tiny("mistral", sliding_window=64)
    assert fast_reach(with_window_elsewhere(model)) == Reach(64)


def with_window_elsewhere(model):
    """The model, whose window is read once and not again when the probe sets it."""
    model.model.config = copy.deepcopy(model.config)
    return model


def test_a_model_with_a_cache_of_its_own_is_left_alone(capsys):
    mamba = tiny("mamba", num_hidden_layers=2, state_size=4)
    assert fast_reach(mamba).tokens == 0
    assert "generating in plain batches" in capsys.readouterr().err


def load(model_id, dtype="float32"):
    return TransformersBackend(locate(ModelRef(str(model_id), dtype=dtype)), NEW_TOKENS)


OWN_SETTINGS = {
    "do_sample": True,
    "temperature": 1.5,
    "top_k": 5,
    "repetition_penalty": 1.8,
    "no_repeat_ngram_size": 1,
    "num_beams": 3,
    "length_penalty": 2.0,
    "min_length": 400,
    "min_new_tokens": 5,
    "forced_eos_token_id": 7,
    "begin_suppress_tokens": list(range(3, 300)),
    "suppress_tokens": list(range(300, 600)),
    "bad_words_ids": [[600], [601]],
    "stop_strings": ["e"],
    "max_length": 4,
    "eos_token_id": 2,
}


def argmax(backend, prompt):
    """A reply by nothing but the model's own best tokens."""
    found = []
    while len(found) < NEW_TOKENS and not backend.stop & set(found):
        ids = torch.tensor([[*prompt, *found]], device=backend.lm.device)
        with torch.inference_mode():
            found.append(int(backend.lm(ids).logits[0, -1].argmax()))
    return found


def test_replies_are_greedy_whatever_the_models_own_settings_say(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps(OWN_SETTINGS))
    backend = load(folder)
    assert backend.lm.generation_config.num_beams == 3
    samples = [
        Sample(f"{n}#1", str(n), n, [{"role": "user", "content": letter * (3 + 9 * n)}], "")
        for n, letter in enumerate("aQ힘7!슬zJ,")
    ]
    prompts = [backend.form.prompt(sample.messages) for sample in samples]
    tokens = [argmax(backend, prompt) for prompt in prompts]
    expected = [backend.form.reply_text(reply)[0].rstrip("\ufffd").rstrip() for reply in tokens]
    assert len(set(expected)) > 3
    assert len({len(prompt) for prompt in prompts}) == 9
    window = sorted(map(len, prompts))[4] + NEW_TOKENS
    for length, fast in ((backend.reach.tokens, 9), (window, 5), (0, 0)):
        backend.reach = Reach(length)
        found = {reply.index: reply for reply in backend.replies(samples, range(9))}
        assert [found[n].text for n in range(9)] == expected
        assert [found[n].tokens for n in range(9)] == list(map(len, tokens))
        paths = Counter(reply.path for reply in found.values())
        assert paths == Counter({"fast": fast, "plain": 9 - fast})
        assert all((r.stop == "length") == (r.tokens == NEW_TOKENS) for r in found.values())
    ids = torch.tensor([prompts[0]])
    own = backend.lm.generate(ids, do_sample=False, max_new_tokens=NEW_TOKENS, stop_strings=None)
    assert own[0, len(prompts[0]) :].tolist() != tokens[0], "nothing leaks; the test shows less"


def test_a_reply_cut_in_a_character_ends_before_it(tiny_llama):
    backend = load(tiny_llama)
    backend.reach = Reach(0)
    written = backend.form.tokenizer("많이 속상", add_special_tokens=False)["input_ids"]
    messages = [{"role": "user", "content": "힘들어."}]
    samples = [Sample("a#1", "a", 0, messages, "")]
    ends = {}
    for cut in range(1, len(written)):
        with forced(backend.lm, written):
            backend.generation["max_new_tokens"] = cut
            (reply,) = backend.replies(samples, [0])
        ends[cut] = reply.text
        assert (reply.tokens, reply.stop) == (cut, "length")
    assert set(ends.values()) == {"", "많", "많이", "많이 속"}
    with forced(backend.lm, [*written[:2], backend.form.end_ids[0]]):
        (reply,) = backend.replies(samples, [0])
    assert (reply.text, reply.stop) == ("\ufffd", "stop")  # the model's own choice


def test_what_made_the_replies_is_known(tiny_llama, tmp_path, capsys):
    tuned = write_adapter(tiny_llama, tmp_path / "tuned", std=0.5)
    samples = [
        Sample(f"{n}#1", str(n), n, [{"role": "user", "content": letter}], "네.")
        for n, letter in enumerate("가나다라")
    ]
    ref = ModelRef(str(tuned), dtype="float32")
    options = Options(model=str(tuned), dataset="any/data", dtype="float32", max_new_tokens=4)
    for _ in range(2):  # the second finds all replies in the store
        store = CompletionStore(tmp_path / "out")
        outcome = collect(options, ref, locate(ref), samples[:3], samples[3:], store)
    kept = "tuned: 4 of 4 replies are kept from an earlier run; --fresh makes them again"
    assert capsys.readouterr().err.count(kept) == 1
    assert outcome.engine["paths"] == {"fast": 4}
    assert outcome.engine["refused"] == {} and outcome.engine["attention"] == "sdpa"
    assert outcome.engine["devices"] == outcome.engine["processes"] == 1
    assert outcome.engine["device"] and outcome.engine["batch"]["tokens"] > 0
    (draw,) = outcome.draws
    assert len(draw.stops) == 3 and draw.extra_stops.keys() == {"3"}
    assert outcome.counts["truncated"] == draw.stops.count("length")
    assert outcome.generation.items() >= {"do_sample": False, "num_beams": 1}.items()
    bare = AutoModelForCausalLM.from_pretrained(tiny_llama)
    files = [tuned / "adapter_model.safetensors", tiny_llama / "model.safetensors"]
    model = outcome.model
    assert model.parameters == sum(weight.numel() for weight in bare.parameters())
    assert model.weights_sha256 == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    assert count_parameters(locate(ref)) == model.parameters


def test_a_tokenizer_is_told_from_another(tiny_llama, tmp_path):
    own = locate(ModelRef(str(tiny_llama))).form.tokenizer
    facts = tokenizer_facts(own)
    assert facts["vocabulary"] == len(own) and facts["eos_token"] == own.eos_token
    own(["하나", "하나 둘"], padding=True, truncation=True, max_length=3)
    assert tokenizer_facts(own) == facts  # no part of it
    own.add_tokens(["새말"])
    own.save_pretrained(tmp_path / "other")
    other = tokenizer_facts(AutoTokenizer.from_pretrained(tmp_path / "other"))
    assert other["vocabulary"] == facts["vocabulary"] + 1
    assert other["sha256"] != facts["sha256"]


@contextmanager
def forced(model, ids):
    """Inside the `with` block the model's best next tokens are `ids`, one after another."""
    left = iter(ids)

    def choose(_, __, logits):
        logits = torch.zeros_like(logits)
        logits[..., next(left)] = 1
        return logits

    hook = model.get_output_embeddings().register_forward_hook(choose)
    try:
        yield
    finally:
        hook.remove()


def texts(backend):
    messages = [{"role": "user", "content": "오늘은 조금 지친 하루였어."}]
    (reply,) = backend.replies([Sample("a#1", "a", 0, messages, "푹 쉬세요.")], [0])
    return reply.text


def test_an_adapter_is_active_and_merged(tiny_llama, tmp_path):
    tuned = write_adapter(tiny_llama, tmp_path / "tuned", std=0.5)
    backend = load(tuned)
    assert backend.model.adapter
    assert backend.model.base_model == "tiny-llama"
    assert type(backend.lm).__name__ == "LlamaForCausalLM"
    assert not [name for name, _ in backend.lm.named_modules() if "lora" in name]
    unmerged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), tuned)
    ids = torch.arange(20, 40)[None].to(backend.lm.device)
    unmerged.to(backend.lm.device)
    with torch.inference_mode():
        assert torch.allclose(backend.lm(ids).logits, unmerged(ids).logits, atol=1e-4)
    assert texts(backend) != texts(load(tiny_llama))


def test_an_adapter_that_does_nothing_is_refused(tiny_llama, tmp_path):
    idle = write_adapter(tiny_llama, tmp_path / "idle", std=0)
    with pytest.raises(KoSentError, match="answers exactly as without it"):
        load(idle)


def test_an_adapter_that_rounding_would_undo_is_not_merged(tiny_llama, tmp_path, capsys):
    faint = write_adapter(tiny_llama, tmp_path / "faint", std=1e-4)
    backend = load(faint, dtype="bfloat16")
    assert [name for name, _ in backend.lm.named_modules() if "lora" in name]
    assert (
        "adapter not merged: in bfloat16, merging would round its weights away"
        in capsys.readouterr().err
    )


def test_an_adapter_without_a_tokenizer_of_its_own_uses_its_bases(tiny_llama, tmp_path):
    tuned = write_adapter(tiny_llama, tmp_path / "tuned", std=0.5)
    assert not (tuned / "tokenizer.json").exists()
    assert load(tuned).chat_format == load(tiny_llama).chat_format


def test_target_scores_are_the_loss_and_accuracy_that_training_reports(tiny_llama):
    backend = load(tiny_llama)
    system = [{"role": "system", "content": "당신은 챗봇입니다."}]
    said = [("user", "힘들어."), ("assistant", "그랬군요."), ("user", "응"), ("assistant", "네.")]
    messages = system + [{"role": role, "content": content} for role, content in said]
    samples = [
        Sample("a#2", "a", 0, messages[:4], "네."),
        Sample("a#1", "a", 0, messages[:2], "그랬군요."),
        Sample("b#1", "b", 1, messages[:2], "괜찮아요?"),
    ]
    found = {score.index: score for score in backend.score_targets(samples, range(3))}
    (encoded,) = backend.form.samples(messages)
    ids, labels = torch.tensor([encoded["input_ids"]]), torch.tensor([encoded["labels"]])
    ids, labels = ids.to(backend.lm.device), labels.to(backend.lm.device)
    with torch.inference_mode():
        loss = backend.lm(input_ids=ids, labels=labels).loss
    learned = sum(label != -100 for label in encoded["labels"])
    assert found[0].tokens + found[1].tokens == learned
    assert found[0].nll + found[1].nll == pytest.approx(float(loss) * learned, rel=1e-4)
    assert found[2].nll != found[1].nll


def test_what_all_dialogues_begin_with_does_not_change_their_target_scores(tiny_llama):
    backend = load(tiny_llama)
    before = [{"role": "system", "content": "당신은 챗봇입니다."}]
    for n in range(3):
        before += [{"role": "user", "content": f"말 {n} " * 9}]
        before += [{"role": "assistant", "content": f"답 {n} " * 9}]
    samples = [
        Sample(f"{n}#4", str(n), n, [*before, {"role": "user", "content": letter * (1 + n)}], "응.")
        for n, letter in enumerate("aQ힘7!슬zJ,")
    ]
    at_once = {score.index: score for score in backend.score_targets(samples, range(9))}
    backend.reach = Reach(0)
    each = {score.index: score for score in backend.score_targets(samples, range(9))}
    assert len({score.nll for score in each.values()}) == 9
    for index, score in each.items():
        assert at_once[index].nll == pytest.approx(score.nll, rel=1e-5)
        assert (at_once[index].correct, at_once[index].tokens) == (score.correct, score.tokens)


def test_a_target_score_is_the_same_to_the_last_bit_whichever_others_are_wanted(tiny_llama):
    backend = load(tiny_llama)
    turns = [[{"role": "user", "content": f"말 {n} " * (1 + n % 40)}] for n in range(60)]
    replies = [f"답 {n} " * (1 + n % 20) for n in range(60)]
    samples = [Sample(f"{n}#1", str(n), n, turns[n], replies[n]) for n in range(60)]
    whole = {score.index: score for score in backend.score_targets(samples, range(60))}
    assert len({score.nll for score in whole.values()}) == 60
    for wanted in ([14], [20], [27], [38], [59], [3, 17], range(7, 60)):
        found = {score.index: score for score in backend.score_targets(samples, wanted)}
        assert found == {index: whole[index] for index in wanted}


OUT_OF_MEMORY = """
import resource, sys
import torch
from tests.kosent_hub.evaluation import test_backends
from tests.kosent_hub.evaluation.test_backends import dialogues, in_batches, one_at_a_time, tiny

test_backends.import_engines()
wide = {"num_hidden_layers": 8, "head_dim": 512, "num_key_value_heads": 4}
model, prompts = tiny("llama", **wide), dialogues(36)
expected = one_at_a_time(model, prompts[:3])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 250 * 2**20, -1))
replies = in_batches(model, prompts, 1_000_000)
assert replies[:3] == expected
print(len(replies))
"""


@pytest.mark.slow
def test_running_out_of_memory_halves_the_batch(run, nobody):
    done = run([sys.executable, "-c", OUT_OF_MEMORY], env=nobody, script=True)
    assert done.stdout.strip() == "72", done.stderr
    assert "out of memory: going on with 500000 tokens at a time" in done.stderr
