"""One running mesh for the tests that need all of it: every daemon in this process, traced, on real servers."""

from collections.abc import AsyncIterator

import pytest_asyncio

from clarion_local.stack import Options, Stack
from clarion_testkit.memory import memory_folder
from clarion_testkit.otlp import Collector


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def collector() -> AsyncIterator[Collector]:
    """Receives the spans of the session's mesh."""
    async with Collector.start() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(collector: Collector) -> AsyncIterator[Stack]:
    """The session's mesh; tests tell themselves apart by the app they make."""
    with memory_folder("stack") as folder:
        options = Options(folder / "stack", all_in_one=True, otlp_endpoint=collector.endpoint, trace_ratio=0.0)
        async with Stack.start(options) as started:
            yield started
