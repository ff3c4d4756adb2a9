"""A small Hugging Face Hub for tests, over real HTTP on loopback.

One idea per file: `hub.py` what a test holds, `server.py` HTTP, `routes*.py` what is answered,
`accounts.py` who may, `store.py` what is kept, `cards.py` and `validate.py` what the Hub
makes of a card, `faults.py` what goes wrong, `journal.py` what was asked.
"""

from tests.support.hub.hub import Hub

__all__ = ["Hub"]
