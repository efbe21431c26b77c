"""Forged callbacks change nothing; our webhooks are signed and led nowhere."""

import pytest

from . import webhooks
from .finding import Size
from .stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_forged_callbacks_change_nothing_and_ours_are_signed(stage: Stage) -> None:
    finding = await webhooks.attack(stage, Size.SHORT)

    assert list(finding.escapes) == []
    assert finding.tries >= 100
