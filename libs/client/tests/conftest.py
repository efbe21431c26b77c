"""A scripted gateway for each test, and clients of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from clarion_client import AsyncClient, RetryPolicy

from .scripted_gateway import APP_KEY, APP_SECRET, Gateway, serving

QUICK = RetryPolicy(
    max_attempts=4,
    first_bound=timedelta(milliseconds=2),
    max_bound=timedelta(milliseconds=4),
    overload_first_bound=timedelta(milliseconds=2),
    overload_max_bound=timedelta(milliseconds=4),
)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def quick_retry() -> RetryPolicy:
    return QUICK


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.connect(
        gateway.target, APP_KEY, APP_SECRET, ca_file=gateway.ca, retry=QUICK, timeout=timedelta(seconds=5)
    ) as connected:
        yield connected
