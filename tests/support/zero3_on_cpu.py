"""A command under ZeRO-3 on CPUs: `accelerate launch --config_file deepspeed-zero3.yaml -m ...`.

accelerate leaves DeepSpeed aside on CPUs, and trains as DDP, though DeepSpeed runs on them
(DS_ACCELERATOR=cpu). Here it does not. Says how many parameters are shared out.
"""

from __future__ import annotations

import sys
from typing import Any

import deepspeed
from accelerate import state
from accelerate.utils import DistributedType

from kosent_hub.train import main

_init, _initialize = state.AcceleratorState.__init__, deepspeed.initialize


def _with_deepspeed(
    self: Any, mixed_precision: Any = None, *args: Any, deepspeed_plugin: Any = None, **kwargs: Any
) -> None:
    _init(self, mixed_precision, *args, deepspeed_plugin=deepspeed_plugin, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU and deepspeed_plugin is not None:
        deepspeed_plugin.set_mixed_precision(self._mixed_precision)
        deepspeed_plugin.select(_from_accelerator_state=True)
        self.distributed_type, self.deepspeed_plugins = DistributedType.DEEPSPEED, deepspeed_plugin
        state.PartialState._shared_state["distributed_type"] = DistributedType.DEEPSPEED


def _counted(*args: Any, **kwargs: Any) -> Any:
    engine, *others = _initialize(*args, **kwargs)
    parameters = list(engine.module.parameters())
    found = [hasattr(parameter, "ds_tensor") for parameter in parameters]
    print(f"shared out: {sum(found)} of {len(found)} parameters", file=sys.stderr)
    return engine, *others


# By gloo: its own kernels would have to be compiled.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
state.AcceleratorState.__init__ = _with_deepspeed
deepspeed.initialize = _counted

if __name__ == "__main__":
    sys.exit(main())
