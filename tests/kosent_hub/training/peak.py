"""Peak memory of a real training step: every tensor it makes, counted while it lives."""

from __future__ import annotations

from typing import Any

import torch

from kosent_hub.training.planning.alive import Alive


def training_step_peak(
    config: Any,
    lora: Any,
    batch: int,
    length: int,
    *,
    checkpointing: bool,
    learned: float,
    cpu_head: bool,
    dtype: torch.dtype = torch.bfloat16,
    steps: int = 2,
) -> int:
    """Bytes at the peak of a LoRA step as training takes it: fp32 adapter, autocast."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from kosent_hub.training.trainer import project_learned_only

    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model = get_peft_model(model, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy", "is_top1"))
    if cpu_head:
        project_learned_only(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    ids = torch.randint(0, config.vocab_size, (batch, length))
    labels = ids.clone()
    labels[:, : int(length * (1 - learned))] = -100
    with Alive() as alive:
        for tensor in (*model.parameters(), *model.buffers()):
            alive.hold(tensor)
        for _ in range(steps):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
                out = model(input_ids=ids, labels=labels, fused_lm_head=True)
                loss = -out.log_probs.sum() / out.label_mask.sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            del out, loss
    return alive.most
