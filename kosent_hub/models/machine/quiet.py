"""Libraries that say less, for commands that only read models."""

from __future__ import annotations

import logging
import warnings


def silence() -> None:
    """Keep libraries from printing what no user of such a command can act on."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
