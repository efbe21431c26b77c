"""What a carrier sends us, in a real Postgres."""

import pytest

from clarion_dispatcher_sms.adapters.inbound import InboundTable
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import LaneConfig
from clarion_ledger.db import LedgerUnavailable, pool
from clarion_testkit.plugin import Database

LANE = LaneConfig(7, 3, "carrier", "smpp", Channel.SMS, True, b"")


async def test_receipt_is_committed_when_store_returns(database: Database) -> None:
    async with pool(f"{database.url}?role=clarion_dispatcher", size=1, application="test") as own:
        await InboundTable(own, LANE).store("smpp", "deliver_sm", b"\x00body")

    rows = await database.pool.fetch("SELECT app_id, lane_id, provider, kind, body FROM tracking.inbound")
    assert [tuple(row) for row in rows] == [(3, 7, "smpp", "deliver_sm", b"\x00body")]


async def test_store_raises_while_postgres_is_away() -> None:
    async with pool("postgresql://nobody@127.0.0.1:1/none", size=1, application="test") as away:
        with pytest.raises(LedgerUnavailable):
            await InboundTable(away, LANE).store("smpp", "deliver_sm", b"body")
