"""“Try it” runs as pasted: the code of published cards, executed against the Hub they are on."""

from __future__ import annotations

import json
import re
import sys

from model_card.publish import publish
from tests.model_card.cards import RECORDS

# One process makes an adapter and merges it; it starts torch once for both.
MAKE = """
import sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, merged = sys.argv[1:]
torch.manual_seed(0)
model = get_peft_model(
    AutoModelForCausalLM.from_pretrained(base),
    LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
)
model.peft_config["default"].base_model_name_or_path = "alice/tiny"
model.save_pretrained(adapter)
model.merge_and_unload().save_pretrained(merged)
for folder in (adapter, merged):
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
"""
PASTE = """
import json, sys
for code in json.loads(sys.argv[1]):
    print("---", flush=True)
    exec(compile(code, "card", "exec"), {})
"""


def code_blocks(hub, repo_id):
    text = hub.files(repo_id)["README.md"].decode()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_cards_code_runs_for_an_adapter_and_for_merged_weights(hub, run, tiny_llama, tmp_path):
    hub.create("alice/tiny", files={path.name: path for path in tiny_llama.iterdir()})
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    made = run(["python", "-c", MAKE, tiny_llama, adapter, merged], env=hub.env(), script=True)
    assert made.returncode == 0, made.stderr
    record = json.loads((RECORDS / "adapter" / "kosent" / "run.json").read_text(encoding="utf-8"))
    record["base_model"] = {"id": "alice/tiny", "revision": hub.head("alice/tiny"), "local": False}
    record["template_kwargs"] = {"date_string": "26 Jul 2024"}
    codes = []
    for folder in (adapter, merged):
        (folder / "README.md").unlink(missing_ok=True)
        weights = {path.name: path for path in folder.iterdir()}
        records = {"kosent/run.json": json.dumps(record).encode()}
        repo_id = f"alice/Tiny-KoSent-{folder.name}"
        publish(repo_id, weights | records, message="Train", api=hub.api())
        ours, again = code_blocks(hub, repo_id)  # the Korean half's and the English half's
        assert ours == again
        codes.append(ours)
    assert "AutoPeftModelForCausalLM" in codes[0] and "AutoPeftModel" not in codes[1]

    done = run([sys.executable, "-c", PASTE, json.dumps(codes)], env=hub.env(), script=True)
    assert done.returncode == 0, done.stderr
    _, *replies = done.stdout.split("---\n")
    # The merged weights are the adapter's: same prompt, same greedy reply.
    assert len(replies) == 2 and replies[0] == replies[1]
    assert len(replies[0]) > 20
