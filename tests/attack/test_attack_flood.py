"""Floods, crowds and SMS pumping, in their short forms."""

import pytest

from . import flood, pumping
from .finding import Size
from .stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_flood_of_one_app_is_taken_and_nobody_else_stands_still(stage: Stage) -> None:
    found = await flood.attack(stage, Size.SHORT)

    assert "\n".join(found.escapes) == ""
    assert found.notes["bulk_accepted"] == flood.BULK[Size.SHORT]


async def test_pumped_range_is_held_back_and_the_budget_holds(stage: Stage) -> None:
    found = await pumping.attack(stage, Size.SHORT)

    assert "\n".join(found.escapes) == ""
    assert int(found.notes["ranges_held"]) == 1
