from collections.abc import AsyncIterator

import pytest

from clarion_template.adapters.guard import GuardedChild

from .template_samples import Memory, Service


@pytest.fixture
async def guard() -> AsyncIterator[GuardedChild]:
    async with GuardedChild.running() as running:
        yield running


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def service(memory: Memory, guard: GuardedChild) -> Service:
    return Service(memory, guard)
