"""Crash points end a process at once where they are armed, and do nothing elsewhere."""

import asyncio
import os
import sys

import pytest

from clarion_kit import crash

PROGRAM = """
import atexit, sys
from clarion_kit import crash
atexit.register(print, "clean-up")
crash.point("first")
print("between", flush=True)
crash.point("second")
"""


async def run(point: str | None) -> tuple[int | None, bytes]:
    env = {name: value for name, value in os.environ.items() if name != "CLARION_CRASH_POINT"}
    if point is not None:
        env["CLARION_CRASH_POINT"] = point
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, env=env, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(child.communicate(), 30)
    return child.returncode, output


@pytest.mark.parametrize(
    ("point", "ended"),
    [
        ("first", (crash.EXIT_STATUS, b"")),
        ("second", (crash.EXIT_STATUS, b"between\n")),
        ("other", (0, b"between\nclean-up\n")),
        (None, (0, b"between\nclean-up\n")),
    ],
)
async def test_process_ends_at_its_armed_point(point: str | None, ended: tuple[int, bytes]) -> None:
    assert await run(point) == ended


def test_point_that_is_not_armed_does_nothing() -> None:
    crash.point("first")
