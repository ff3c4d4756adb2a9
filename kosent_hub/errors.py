"""The error users can mend, under this package's roof."""

from model_card.errors import KoSentError, run_command

__all__ = ["KoSentError", "run_command"]
