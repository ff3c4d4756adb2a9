"""The base models of the demo and the tests, taken out of Python packages: no Hub needed."""

from kosent_hub.demo_models.gemma3 import write_gemma3
from kosent_hub.demo_models.smollm2 import write_smollm2

__all__ = ["write_gemma3", "write_smollm2"]
