"""How the reports of a message travel: magic addresses ask for repeats, delays and the wrong order."""

from typing import Literal

LATE_SECONDS = 1.0
HEAD_START_SECONDS = 0.05
"""How long the answer to a request is held back whose report is to arrive first."""

Manner = Literal["", "twice", "before_response", "never", "reversed", "late"]
"""``reversed``: an earlier state is reported after the final one."""


def delay_of(manner: str, usual_seconds: float) -> float:
    """Seconds from taking a message to its report."""
    if manner == "before_response":
        return 0.0
    return usual_seconds + LATE_SECONDS if manner == "late" else usual_seconds
