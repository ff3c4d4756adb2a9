"""A LoRA adapter of a base model, with weights of a given size."""

from pathlib import Path


def write_adapter(base: Path, folder: Path, std: float) -> Path:
    """`folder` with an adapter of `base` whose B matrices are drawn with `std`; 0: does nothing."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    settings = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=std)
    model.save_pretrained(folder)
    return folder
