"""What the trainer does to TRL's: the order of samples, the CPU's head, packed samples apart."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def engines() -> None:
    """Torch and what needs it: each worker collects this module, and few run it."""
    global DataCollatorForLanguageModeling, LengthGrouped, add_fused_lm_head
    global project_learned_only, torch
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
    from trl.trainer.utils import add_fused_lm_head

    from kosent_hub.training.trainer import LengthGrouped, project_learned_only


OUTPUTS = ("log_probs", "entropy", "is_top1")


def sample(length: int, seed: int) -> dict[str, list[int]]:
    ids = torch.randint(20, 1000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return {"input_ids": ids, "labels": [-100] * (length // 2) + ids[length // 2 :]}


@pytest.fixture
def model(tiny_llama: Path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    add_fused_lm_head(model, outputs=OUTPUTS)
    return model.eval()


def scored(model, batch) -> torch.Tensor:
    """Log-probabilities of the learned tokens, in order."""
    with torch.no_grad():
        out = model(**batch, fused_lm_head=True)
    return out.log_probs[out.label_mask]


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_cpu_head_scores_what_trls_does(model, is_trained, monkeypatch):
    monkeypatch.setattr("kosent_hub.training.trainer.CPU_HEAD_ROWS", 10)  # of 24 rows
    model.requires_grad_(is_trained)
    query = model.model.layers[0].self_attn.q_proj.weight.requires_grad_()
    batch = DataCollatorForLanguageModeling(pad_token_id=0)([sample(30, 1), sample(17, 2)])

    def step():
        out = model(**batch, fused_lm_head=True)
        query.grad = None
        (out.log_probs * torch.linspace(1, 2, out.log_probs.shape[1])).sum().backward()
        return out, query.grad

    theirs, their_gradient = step()
    project_learned_only(model)
    ours, our_gradient = step()
    assert torch.equal(ours.label_mask, theirs.label_mask)
    assert ours.label_mask.sum() == 15 + 9
    assert torch.allclose(ours.log_probs, theirs.log_probs, atol=1e-5)
    assert torch.equal(ours.is_top1, theirs.is_top1.float())
    assert torch.allclose(our_gradient, their_gradient, rtol=1e-4, atol=1e-6)
    assert our_gradient.abs().max() > 1e-4
    plain = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    assert plain.logits.shape[:2] == batch["input_ids"].shape


def test_packed_samples_do_not_see_each_other(model):
    project_learned_only(model)
    samples = [sample(30, 1), sample(17, 2), sample(11, 3)]
    packed = {
        "input_ids": [i for s in samples for i in s["input_ids"]],
        "labels": [i for s in samples for i in s["labels"]],
        "seq_lengths": [30, 17, 11],
    }
    together = scored(model, DataCollatorForLanguageModeling(0, padding_free=True)([packed]))
    alone = [scored(model, DataCollatorForLanguageModeling(0)([s])) for s in samples]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    other = [sample(30, 9), *samples[1:]]
    packed["input_ids"] = [i for s in other for i in s["input_ids"]]
    changed = scored(model, DataCollatorForLanguageModeling(0, padding_free=True)([packed]))
    assert torch.equal(changed[15:], together[15:])


def test_samples_of_a_step_are_of_a_length_and_the_longest_step_comes_first():
    lengths = [10 + (37 * i) % 101 for i in range(200)]
    epoch = 0
    order = LengthGrouped(lengths, 8, seed=1, epoch=lambda: epoch)
    first = list(order)
    assert sorted(first) == list(range(200))
    steps = [[lengths[i] for i in first[at : at + 8]] for at in range(0, 200, 8)]
    assert max(max(step) - min(step) for step in steps) <= 8
    assert max(lengths) in steps[0]
    assert list(order) == first
    epoch = 1
    assert list(order) != first
