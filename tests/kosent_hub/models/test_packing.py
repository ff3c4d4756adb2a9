"""Packed linear layers compute the same, in no more memory."""

import sys

PACKED = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from kosent_hub.models.packing import pack

wide = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=6, vocab_size=100)
model = LlamaForCausalLM(LlamaConfig(**wide)).eval()
weights = sum(weight.nbytes for weight in model.parameters())
ids = torch.arange(5, 25)[None]

def resident(kind):  # getrusage begins with what the process that forked this one had
    return 1024 * int(open("/proc/self/status").read().split(kind + ":")[1].split()[0])

with torch.inference_mode():
    before, held = model(ids).logits, resident("VmRSS")
    pack(model)
    grown = resident("VmHWM") - held
    print(torch.allclose(model(ids).logits, before, atol=1e-4), grown / weights)
"""


def test_packing_changes_no_logit_and_holds_no_weight_twice(run, nobody):
    done = run([sys.executable, "-c", PACKED], env=nobody)  # memory of a process of its own
    same, share = done.stdout.split()
    assert same == "True"
    assert float(share) < 0.5
