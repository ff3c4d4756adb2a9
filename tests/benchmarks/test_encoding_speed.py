"""How fast dialogues become training samples, against TRL's way: the template with marks.

Both in one run, one after the other and again. TRL's training template of Qwen 2.5 goes through
`apply_chat_template(return_assistant_tokens_mask=True)`, as in its trainer, on one core.
"""

import time
from importlib import resources

from kosent_hub.models.chat_format import chat_format
from kosent_hub.models.tokenizer import load_tokenizer
from kosent_hub.training.samples import encode
from tests.kosent_hub.dialogues import write_dataset

DIALOGUES = 4_000
TRL = resources.files("trl") / "chat_templates"


def test_encoding_takes_no_longer_than_trls_marks(smollm2, tmp_path):
    from datasets import load_dataset

    folder = write_dataset(tmp_path / "chat", DIALOGUES)
    dialogues = load_dataset(str(folder), split="test")["messages"]
    tokenizer = load_tokenizer(str(smollm2))
    tokenizer.chat_template = (TRL / "qwen2_5.jinja").read_text("utf-8")
    marked = (TRL / "qwen2_5_training.jinja").read_text("utf-8")
    form = chat_format(tokenizer)

    def theirs() -> None:
        for messages in dialogues:
            tokenizer.apply_chat_template(
                messages, chat_template=marked, return_dict=True, return_assistant_tokens_mask=True
            )

    def ours() -> None:
        encode(form, dialogues, 1024, split="train", max_dropped=0)

    seconds = {theirs: 0.0, ours: 0.0}
    for way in (theirs, ours, ours, theirs):
        started = time.perf_counter()
        way()
        seconds[way] += time.perf_counter() - started
    print(
        f"\n{DIALOGUES} dialogues: {seconds[theirs] / 2:.1f} s TRL, {seconds[ours] / 2:.1f} s ours"
    )
    assert seconds[ours] < seconds[theirs]
