"""Long text messages to one phone through the sandbox's SMSC, which puts parts together as a phone does."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, PhoneNumber
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message
from clarion_channels.providers.smpp import Factory

from .push_messages import Reports
from .sandbox_door import practice

NUMBER = "+821012345678"
COUNT = 120


class Kept:
    """Takes receipts."""

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        return


@pytest.mark.parametrize("concatenation", ["udh", "sar"])
async def test_many_long_messages_to_one_phone_at_once_arrive_whole(tmp_path: Path, concatenation: str) -> None:
    texts = [f"{number:03} " + "long " * 50 for number in range(COUNT)]
    async with practice(tmp_path) as door:
        account = door.account("smpp")
        settings = {
            "host": "127.0.0.1",
            "port": door.sandbox.ports.smpp,
            "system_id": account["system_id"],
            "password": account["password"],
            "source": "Shop",
            "concatenation": concatenation,
        }
        provider = await Factory().connect(json.dumps(settings).encode(), Kept())
        reports = Reports()
        try:
            messages = [
                Message(
                    uuid4(),
                    Address(sms=PhoneNumber(e164=NUMBER)),
                    Rendered(sms=SmsContent(text=text)),
                    PRIORITY_NORMAL,
                    datetime.now(UTC) + timedelta(hours=1),
                )
                for text in texts
            ]
            async with asyncio.timeout(30):
                await provider.send(messages, reports)
        finally:
            await provider.close()
        arrived = [arrival.content.decode() for arrival in door.sandbox.ledger.arrivals()]

    assert {result.outcome for result in reports.results.values()} == {Outcome.ACCEPTED}
    assert {len(result.receipt_ids) for result in reports.results.values()} == {2}
    assert sorted(arrived) == sorted(texts)
