"""No field of a request writes a header, a part or a mail of its own."""

import pytest

from . import headers
from .finding import Size
from .header_payloads import payloads
from .stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_there_are_a_hundred_payloads_all_different() -> None:
    assert len(set(payloads())) == len(payloads()) >= 100


async def test_no_field_writes_a_header_or_a_mail_of_its_own(stage: Stage) -> None:
    finding = await headers.attack(stage, Size.SHORT)

    assert list(finding.escapes) == []
    assert finding.notes["sent"]
    assert finding.notes["refused"]
