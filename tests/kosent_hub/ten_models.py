"""Ten families of models, each with a tiny model of its transformers class, and its truth by hand.

Run as a script, this file makes the models: random weights of two layers, taught a few dialogues
so that their replies are words and end. The templates have the shape of each family's own.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SYSTEM = "친절하게."
# What the models are taught; tests ask them other things too.
USER = ["안녕", "힘들어", "취직했어", "잠이 안 와"]
REPLY = ["Hello!", "Oh no.", "Great.", "네."]
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
}


@dataclass(frozen=True)
class Family:
    """A family: how its tiny model is made, and what is true of its chat format.

    A reply is written as `prefix`, reply, `end`; `stops` end one besides. `asked` are the template
    variables that every rendering names, and `folded` says that no system message is written.
    `a_sample_each`: the dialogues of which each reply is a sample, since their text does not have
    before it what its prompt has: "none", "all", or "with system", those with a system message.
    """

    model_type: str
    template: str
    eos: str
    end: str
    prefix: str = ""
    tokens: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)
    folded: bool = False
    a_sample_each: str = "none"
    config: dict[str, Any] = field(default_factory=dict)

    def prepared(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """The messages as a template gets them that does not write a system message."""
        if not self.folded or messages[0]["role"] != "system":
            return messages
        system, first, *rest = messages
        content = f"{system['content']}\n\n{first['content']}"
        return [{"role": "user", "content": content}, *rest]

    def prompt(self, tokenizer: Any, messages: list[dict[str, str]]) -> str:
        """The text of a prompt, from transformers."""
        return tokenizer.apply_chat_template(
            self.prepared(messages), tokenize=False, add_generation_prompt=True, **self.asked
        )


FAMILIES = {
    # The day stands in the prompt, and whoever renders names it.
    "llama": Family(
        "llama",
        r"""
{{- '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n' }}
{{- 'Today: ' + (date_string or 'unknown') + '\n\n' }}
{%- for m in messages %}
{%- if m.role != 'system' %}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}
{%- endif %}
{{- m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}""",
        eos="<|eot_id|>",
        end="<|eot_id|>",
        tokens=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        stops=("<|endoftext|>",),
        asked={"date_string": "26 Jul 2024"},
    ),
    # An empty thought stands in the prompt, and in a text's last turn only.
    "qwen3": Family(
        "qwen3",
        r"""
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'assistant' and loop.last %}
{{- '<think>\n\n</think>\n\n' }}
{%- endif %}
{{- m.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}
{{- '<think>\n\n</think>\n\n' }}
{%- endif %}
{%- endif %}""",
        eos="<|im_end|>",
        end="<|im_end|>",
        tokens=("<think>", "</think>"),
        stops=("<|endoftext|>",),
        asked={"enable_thinking": False},
        a_sample_each="all",
    ),
    # A system message becomes the beginning of the first user message, by the template itself.
    "gemma3": Family(
        "gemma3_text",
        r"""
{%- set system = '' %}
{%- if messages[0].role == 'system' %}
{%- set system = messages[0].content + '\n\n' %}
{%- set messages = messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('user and model take turns') }}
{%- endif %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' }}
{{- (system if loop.first else '') + m.content | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<start_of_turn>model\n' }}
{%- endif %}""",
        eos="<eos>",
        end="<end_of_turn>",
        tokens=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        stops=("<end_of_turn>",),
        config={"sliding_window": 64, "query_pre_attn_scalar": 8},
    ),
    # The system message is in the last user message: of a prompt, and of no text.
    "mistral": Family(
        "mistral",
        r"""
{%- set system = '' %}
{%- if messages[0].role == 'system' %}
{%- set system = messages[0].content + '\n\n' %}
{%- set messages = messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'user' %}
{{- '[INST] ' + (system if loop.last else '') + m.content + '[/INST]' }}
{%- else %}
{{- ' ' + m.content + eos_token }}
{%- endif %}
{%- endfor %}""",
        eos="</s>",
        end="</s>",
        prefix=" ",
        tokens=("<s>", "</s>", "[INST]", "[/INST]"),
        a_sample_each="with system",
        config={"sliding_window": None},
    ),
    # A system message is dropped without a word, and a text ends with one token more.
    "phi3": Family(
        "phi3",
        r"""
{%- for m in messages %}
{%- if m.role == 'user' %}
{{- '<|user|>\n' + m.content + '<|end|>\n<|assistant|>\n' }}
{%- elif m.role == 'assistant' %}
{{- m.content + '<|end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if not add_generation_prompt %}
{{- eos_token }}
{%- endif %}""",
        eos="<|endoftext|>",
        end="<|end|>",
        tokens=("<|user|>", "<|assistant|>", "<|end|>"),
        stops=("<|end|>",),
        folded=True,
        config={"pad_token_id": 0},
    ),
    # The closed thought of the prompt is in no text.
    "exaone4": Family(
        "exaone4",
        r"""
{%- for m in messages %}
{{- '[|' + m.role + '|]\n' + m.content + '[|endofturn|]\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '[|assistant|]\n<think>\n' + ('' if enable_thinking else '\n</think>\n\n') }}
{%- endif %}""",
        eos="[|endofturn|]",
        end="[|endofturn|]",
        tokens=("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]", "<think>", "</think>"),
        a_sample_each="all",
        config={"sliding_window": 64, "sliding_window_pattern": 2},
    ),
    # Marks around the reply, which the model writes; two tokens end it.
    "cohere": Family(
        "cohere2",
        r"""
{{- bos_token }}
{%- for m in messages %}
{{- '<|START_OF_TURN_TOKEN|>' }}
{%- if m.role == 'assistant' %}
{{- '<|CHATBOT_TOKEN|><|START_RESPONSE|>' + m.content + '<|END_RESPONSE|>' }}
{%- else %}
{{- ('<|USER_TOKEN|>' if m.role == 'user' else '<|SYSTEM_TOKEN|>') + m.content }}
{%- endif %}
{{- '<|END_OF_TURN_TOKEN|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}
{%- endif %}""",
        eos="<|END_OF_TURN_TOKEN|>",
        end="<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        prefix="<|START_RESPONSE|>",
        tokens=(
            *("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
            *("<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
            *("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        ),
        config={"sliding_window": 64, "logit_scale": 1.0},
    ),
    # No end of turn: the next role's mark ends a reply, which begins with a newline.
    "glm4": Family(
        "glm4",
        r"""
{{- '[gMASK]<sop>' }}
{%- for m in messages %}
{{- '<|' + m.role + '|>\n' + m.content }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>' }}
{%- endif %}""",
        eos="<|endoftext|>",
        end="<|user|>",
        prefix="\n",
        tokens=("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"),
        stops=("<|user|>",),
        config={"pad_token_id": 0},
    ),
    # The model writes its channel; another token ends the last reply than the earlier ones. The
    # clock is left out: an endpoint's server would tell its own.
    "gpt-oss": Family(
        "gpt_oss",
        r"""
{{- '<|start|>system<|message|>Reasoning: ' + (reasoning_effort or 'medium') + '<|end|>' }}
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{{- '<|start|>assistant<|channel|>final<|message|>' + m.content }}
{{- '<|return|>' if loop.last else '<|end|>' }}
{%- else %}
{{- '<|start|>' + ('developer' if m.role == 'system' else m.role) }}
{{- '<|message|>' + m.content + '<|end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start|>assistant' }}
{%- endif %}""",
        eos="<|return|>",
        end="<|return|>",
        prefix="<|channel|>final<|message|>",
        tokens=("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
        stops=("<|endoftext|>",),
        asked={"reasoning_effort": "low"},
        a_sample_each="all",
        config={"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 64}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    ),
    # A closed thought without its beginning, in prompts and texts alike. A template that opens a
    # thought whatever it is told is not among the ten: at an endpoint, nobody can close it.
    "deepseek-v3": Family(
        "deepseek_v3",
        r"""
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'system' %}
{{- m.content }}
{%- elif m.role == 'user' %}
{{- '<｜User｜>' + m.content }}
{%- else %}
{{- '<｜Assistant｜></think>' + m.content + '<｜end▁of▁sentence｜>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<｜Assistant｜>' + ('<think>' if thinking else '</think>') }}
{%- endif %}""",
        eos="<｜end▁of▁sentence｜>",
        end="<｜end▁of▁sentence｜>",
        tokens=(
            *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
            *("<think>", "</think>"),
        ),
        config={
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "v_head_dim": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "num_key_value_heads": 4,
        },
    ),
}
BOS = {
    "gemma3": "<bos>",
    "mistral": "<s>",
    "cohere": "<BOS_TOKEN>",
    "deepseek-v3": "<｜begin▁of▁sentence｜>",
}


def dialogue(number: int) -> list[dict[str, str]]:
    """A dialogue with a system message and one to three replies."""
    messages = [{"role": "system", "content": SYSTEM}]
    for turn in range(1 + number % 3):
        kind = (number + turn * (1 + number // 4)) % 4
        messages.append({"role": "user", "content": USER[kind]})
        messages.append({"role": "assistant", "content": REPLY[kind]})
    return messages


def write_models(folder: Path, base: Path) -> None:
    """`folder/FAMILY` for each family: a tokenizer with the tokens of `base`, a taught model."""
    for name in FAMILIES:
        tokenizer = _tokenizer(name, base, folder / name)
        model = _model(name, tokenizer)
        _teach(name, tokenizer, model)
        model.save_pretrained(folder / name)


def _tokenizer(name: str, base: Path, folder: Path) -> Any:
    from transformers import AutoTokenizer

    family = FAMILIES[name]
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / file, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = [token for token in family.tokens if "think" in token]  # as Qwen's and DeepSeek's are
    special = [token for token in family.tokens if token not in plain]
    tokenizer.add_tokens(plain)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.bos_token, tokenizer.eos_token = BOS.get(name), family.eos
    tokenizer.pad_token = "<|endoftext|>" if family.eos != "<|endoftext|>" else "<reponame>"
    tokenizer.chat_template = family.template.strip()
    tokenizer.save_pretrained(folder)
    return tokenizer


def _model(name: str, tokenizer: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    family = FAMILIES[name]
    stops = tokenizer.convert_tokens_to_ids([family.eos, *family.stops])
    config = AutoConfig.for_model(
        family.model_type,
        **SMALL
        | {"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id}
        | {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": stops}
        | family.config,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _teach(name: str, tokenizer: Any, model: Any) -> None:
    """A few steps on the dialogues' replies, as the family writes them."""
    import torch

    family, rows = FAMILIES[name], []
    for messages in map(dialogue, range(4)):
        for k in range(2, len(messages), 2):
            prompt = tokenizer.encode(
                family.prompt(tokenizer, messages[:k]), add_special_tokens=False
            )
            written = f"{family.prefix}{messages[k]['content']}{family.end}"
            rows.append((prompt, tokenizer.encode(written, add_special_tokens=False)))
    width = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for n, (prompt, reply) in enumerate(rows):
        length = len(prompt) + len(reply)
        ids[n, :length], mask[n, :length] = torch.tensor(prompt + reply), 1
        labels[n, len(prompt) : length] = torch.tensor(reply)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(25):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    write_models(*map(Path, sys.argv[1:]))
