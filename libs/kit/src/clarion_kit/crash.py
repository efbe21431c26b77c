"""Named crash points: places where a test may end the process at once, as a power cut or the OOM killer would.

Off unless `CLARION_CRASH_POINT` names one at import; production profiles refuse to start with it. A point costs one
comparison with None.
"""

import os

_ARMED = os.environ.get("CLARION_CRASH_POINT")
EXIT_STATUS = 86
"""What a process ended by a crash point exits with, so that tests can tell it from other deaths."""


def point(name: str) -> None:
    """End the process here, without any clean-up, if this point is armed."""
    if _ARMED is not None and name == _ARMED:
        os._exit(EXIT_STATUS)
