"""Named crash points: places where a test may end the process at once, as a power cut or the OOM killer would.

Off unless `CLARION_CRASH_POINT` names one when the first point is passed; the production profile refuses to start with it.
"""

import functools
import os

VARIABLE = "CLARION_CRASH_POINT"
EXIT_STATUS = 86
"""What a process ended by a crash point exits with, so that tests can tell it from other deaths."""


def point(name: str) -> None:
    """End the process here, without any clean-up, if this point is armed."""
    if name == _armed():
        os._exit(EXIT_STATUS)


@functools.cache
def _armed() -> str | None:
    # Not read at import: a forked daemon gets its environment after its imports.
    return os.environ.get(VARIABLE)
