"""A database dump without the key files opens nothing and forges nothing."""

import pytest

from . import stolen
from .finding import Size
from .stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_nothing_is_opened_or_forged_with_a_dump_alone(stage: Stage) -> None:
    finding = await stolen.attack(stage, Size.SHORT)

    assert list(finding.escapes) == []
