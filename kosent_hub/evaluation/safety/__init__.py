"""Whether replies point to help where it is needed, and only there.

`python -m kosent_hub.evaluation.safety FILE.tsv` says how often that agrees with people's labels.
"""

from __future__ import annotations

from kosent_hub.evaluation.safety.crisis import crisis_line, in_crisis
from kosent_hub.evaluation.safety.referral import points_to_help

__all__ = ["crisis_line", "in_crisis", "points_to_help"]
