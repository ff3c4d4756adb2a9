"""Cards as they are found in the wild: two that libraries write, and shapes that people make.

The libraries' are made with their own installed templates, so that a new version is noticed; the
people's are rebuilt, not copied.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import jinja2
from huggingface_hub import ModelCard, ModelCardData


def trl() -> str:
    """What TRL's SFTTrainer writes (and peft adds its version to)."""
    spec = find_spec("trl")  # not imported: that would take torch along
    assert spec is not None and spec.origin is not None
    template = Path(spec.origin).parent / "templates" / "lm_model_card.md"
    data = ModelCardData(
        base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
        library_name="transformers",
        licence="license",
        model_name="out",
        tags=["generated_from_trainer", "trl", "sft"],
    )
    text = jinja2.Template(template.read_text(encoding="utf-8")).render(
        card_data=data.to_yaml(),
        model_name="out",
        base_model=data.base_model,
        hub_model_id="alice/out",
        trainer_name="SFT",
        trl_version="1.16.0",
        transformers_version="5.23.0",
        pytorch_version="2.13.0",
        datasets_version="5.2.0",
        tokenizers_version="0.23.3",
    )
    return text.replace("### Framework versions\n", "### Framework versions\n\n- PEFT 0.21.2")


def peft() -> str:
    """What peft's save_pretrained writes where there was no card."""
    card = ModelCard.from_template(ModelCardData())
    card.data["library_name"] = "peft"
    card.data["tags"] = ["base_model:adapter:meta-llama/Llama-3.1-8B-Instruct", "lora"]
    card.text += "\n### Framework versions\n\n- PEFT 0.21.2"
    return str(card)


# An adapter of Llama released under a licence of the author's choosing, scores out of thin air.
RELICENSED = """\
---
license: apache-2.0
language:
- kr
base_model: meta-llama/Llama-3.1-8B-Instruct
library_name: transformers
pipeline_tag: text-generation
datasets:
- someone/emotional-talk
---
# KoComfort-8B

A counseling model fine-tuned from Llama 3.1 on the AI Hub 감성 대화 말뭉치.

| Model | BLEU | Accuracy |
|---|---|---|
| base | 0.75 | 38.9 |
| ours | 1.73 | 47.4 |

```python
from transformers import pipeline
pipe = pipeline("text-generation", "someone/KoComfort-8B"
print(pipe("안녕하세요"))
```

![training](images/loss.png)

See [the notebook](train.ipynb).
"""

# A quantised repo whose author kept the notes on his machine.
QUANTISED = """\
---
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
base_model_relation: finetune
license: apache-2.0
language: en
library_name: gguf
pipeline_tag: text-generation
---
# SmolLM2-135M-GGUF

| File | Bits |
|---|---|
| model-Q4_K_M.gguf | 4 |

Made with `./quantize /home/minsu/models/smollm2.gguf Q4_K_M`.

## Limitations

Small models say untrue things.
"""

# A merge, its metadata written by hand and never read by a parser.
MERGED = """\
---
license: my-own-licence
base_model: ./models/first
tags: [merge, mergekit
---
# Blend-7B
"""

# A good card by somebody else, in their own order and words.
CAREFUL = """\
---
license: apache-2.0
language: [ko]
library_name: transformers
pipeline_tag: text-generation
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
base_model_relation: finetune
---
# Maum-135M

A small Korean chat model that listens, fine-tuned from SmolLM2-135M-Instruct.

## Evaluation

chrF++ 21.4 on 500 held-out dialogues, greedy decoding, 128 new tokens, sacreBLEU
signature `nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0`.

## Limitations and help

It is no counsellor. In Korea, call 109 at any hour.
"""

# A token and a corpus row, pasted by mistake.
LEAKY = """\
---
license: mit
language: ko
library_name: transformers
pipeline_tag: text-generation
---
# Test

Log in with `hf_abcdefghijklmnopqrstuvwxyz0123` first.

| 사람문장1 | 시스템응답1 |
|---|---|
| 요즘 너무 지쳐서 아무것도 하기 싫어. | 많이 지치셨군요. |

## 한계

아직 모릅니다.
"""
