"""No address inside is saved or dialled, however it is written."""

from datetime import timedelta

import pytest

from clarion_tracker.adapters.webhook_http import Receivers

from . import inside, ssrf
from .finding import Size
from .stage import Stage
from .trap import Trap

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOON = timedelta(seconds=30)


async def test_there_are_two_hundred_addresses_all_different() -> None:
    assert len(set(inside.urls())) == len(inside.urls()) >= 200


async def test_a_trap_counts_who_comes() -> None:
    async with Trap.set("127.0.0.1") as trap:
        async with Receivers(private=True).open() as opened, opened.knock() as door:
            answer = await door.post(f"http://127.0.0.1:{trap.port}/", {}, b"{}", SOON)

        assert (answer.status, trap.hits) == (200, 1)


async def test_no_address_inside_is_saved_or_dialled(stage: Stage) -> None:
    finding = await ssrf.attack(stage, Size.SHORT)

    assert list(finding.escapes) == []
    assert finding.tries >= 200
