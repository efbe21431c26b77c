"""The stage that the short forms of all attacks share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from clarion_local.stack import Stack
from clarion_testkit.otlp import Collector

from .stage import Stage, open_stage

SEED = 1


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(stack: Stack, collector: Collector) -> AsyncIterator[Stage]:
    """Two apps on the session's mesh."""
    async with open_stage(stack, SEED, collector) as opened:
        yield opened
