"""A command under FSDP2 on CPUs: `accelerate launch --config_file fsdp2.yaml -m ...fsdp_on_cpu`.

accelerate looks at its FSDP settings on accelerators only, and trains as DDP on CPUs, though
PyTorch shards there as well. Here it looks at them. Says how many parameters are shared out.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate import accelerator, state
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from kosent_hub.train import main

_init, _prepare = state.AcceleratorState.__init__, accelerator.fsdp2_prepare_model


def _with_fsdp(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    _init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU and fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def _counted(*args: Any, **kwargs: Any) -> Any:
    model = _prepare(*args, **kwargs)
    found = [isinstance(parameter, DTensor) for parameter in model.parameters()]
    print(f"shared out: {sum(found)} of {len(found)} parameters", file=sys.stderr)
    return model


state.AcceleratorState.__init__ = _with_fsdp
accelerator.fsdp2_prepare_model = _counted

if __name__ == "__main__":
    sys.exit(main())
