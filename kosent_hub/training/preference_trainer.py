"""TRL's DPOTrainer over encoded pairs, and the adapter that it goes on from.

The loss is TRL's own. The reference is no second model: it is the base with the adapter switched
off, or a frozen copy of the adapter that the training begins with.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch.utils.data import Sampler, SequentialSampler
from trl import DPOConfig, DPOTrainer

from kosent_hub.models.weights.attach import attach
from kosent_hub.training.trainer import Resumable
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from kosent_hub.models.locate import Located

# TRL's name for the frozen copy of the adapter that a training begins with.
REFERENCE = "ref"


class PreferenceTrainer(Resumable, DPOTrainer):
    """DPOTrainer over pairs that are encoded (`prompt_ids`, `chosen_ids`, `rejected_ids`)."""

    def __init__(self, args: DPOConfig, patience: int | None = None, **arguments: Any) -> None:
        super().__init__(args, patience, **arguments)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss, the tokens of the replies counted."""
        self.count_learned(inputs["completion_mask"][:, 1:].sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def lengths_of(self, dataset: Any) -> list[int]:
        """Tokens of each pair's longer half."""
        columns = (dataset[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
        return [len(p) + max(len(c), len(r)) for p, c, r in zip(*columns, strict=True)]

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        # Trainer's own would look for `input_ids` to group by.
        return SequentialSampler(eval_dataset)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """TRL's, without the reference beside the finished adapter; a checkpoint keeps it."""
        super().save_model(output_dir, _internal_call)
        if not _internal_call and output_dir is not None and self.args.should_save:
            shutil.rmtree(Path(output_dir) / REFERENCE, ignore_errors=True)


def with_adapter(base: PreTrainedModel, located: Located) -> Any:
    """The base with the located adapter, ready to be trained on.

    Raises KoSentError for an adapter that cannot be, or that changes the head: TRL reads the head's
    own weights.
    """
    attached = attach(base, located)
    model = attached.model
    kind = model.peft_config["default"]
    if str(getattr(kind.peft_type, "value", kind.peft_type)) != "LORA":
        raise KoSentError(located.model_id, "is no LoRA adapter", "begin without --adapter")
    if isinstance(model.get_output_embeddings(), BaseTunerLayer):
        raise KoSentError(
            located.model_id,
            "changes the head (lm_head), which TRL's DPO would not train",
            "merge it into its base first, and begin without --adapter",
        )
    kind.inference_mode = False
    model.set_adapter("default")
    return model.train()
