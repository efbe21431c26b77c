"""What a carrier sends us, in a real Postgres."""

import pytest

from clarion_dispatcher_sms.adapters.inbound import InboundTable
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import LaneConfig
from clarion_ledger.db import LedgerUnavailable, pool
from clarion_ledger.receipts import open_inbound
from clarion_testkit.plugin import App, Database


def lane(app: App) -> LaneConfig:
    return LaneConfig(7, app.app_id, "carrier", "smpp", Channel.SMS, True, b"")


async def test_receipt_is_committed_and_sealed_when_store_returns(database: Database, app: App) -> None:
    async with pool(f"{database.url}?role=clarion_dispatcher", size=1, application="test") as own:
        await InboundTable(own, app.keys, lane(app)).store("smpp", "deliver_sm", b"\x00+821012345678")

    [row] = await database.pool.fetch("SELECT app_id, lane_id, provider, kind, body FROM tracking.inbound")
    assert tuple(row)[:4] == (app.app_id, 7, "smpp", "deliver_sm")
    assert b"8210" not in row["body"]
    assert open_inbound(await app.keys.sealer(app.app_id), 7, row["body"]) == b"\x00+821012345678"


async def test_store_raises_while_postgres_is_away(app: App) -> None:
    async with pool("postgresql://nobody@127.0.0.1:1/none", size=1, application="test") as away:
        with pytest.raises(LedgerUnavailable):
            await InboundTable(away, app.keys, lane(app)).store("smpp", "deliver_sm", b"body")
