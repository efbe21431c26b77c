"""Templates that mean harm are refused or bounded, and hurt no neighbour."""

import pytest

from . import templates
from .finding import Size
from .stage import Stage
from .template_payloads import payloads

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_there_are_a_hundred_payloads_all_different() -> None:
    every = payloads()

    assert len({(one.source, one.place, *one.partials.items()) for one in every}) == len(every) >= 100


async def test_templates_that_mean_harm_are_refused_or_bounded(stage: Stage) -> None:
    finding = await templates.attack(stage, Size.SHORT)

    assert list(finding.escapes) == []
    assert finding.tries >= 30
