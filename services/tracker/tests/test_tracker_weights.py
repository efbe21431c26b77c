"""From receipts to routes: two SMPP accounts, one of which delivers nothing for a while."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes, Route, Target
from clarion.types.v1.address_pb2 import Address, PhoneNumber
from clarion.types.v1.channel_pb2 import CHANNEL_SMS, PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Provider, Report
from clarion_channels.providers.smpp import Factory
from clarion_kit.vocabulary import Channel, DeliveryState
from clarion_ledger import admin
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, pool
from clarion_ledger.routing import choose_lane
from clarion_testkit.plugin import App, Database
from clarion_testkit.smsc import Smsc, smsc
from clarion_tracker import quality
from clarion_tracker.adapters import smpp
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.adapters.quality_table import QualityTable
from clarion_tracker.adapters.segments import SegmentTable
from clarion_tracker.receipts import ReceiptJob
from clarion_tracker.rollup import roll

from .tracker_ledger_samples import claimed_sms, record_answer, sms_lane
from .tracker_samples import READ_SMPP, FakeAddresses, tracked

SAMPLES = 12


@dataclass(slots=True)
class Receipts:
    """Where an account's provider puts what came back, as the dispatcher does."""

    table: InboundTable
    app_id: int
    lane_id: int

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        await self.table.store(self.app_id, self.lane_id, provider, kind, body, body)


@dataclass(slots=True)
class Account:
    lane_id: int
    carrier: Smsc
    provider: Provider
    received: int = 0


class World:
    """Two accounts of one app, the tracker's job, and a daemon that routes."""

    def __init__(self, database: Database, connections: Pool, app: App) -> None:
        self._database = database
        self._app = app
        self._table = InboundTable(connections, app.keys, [smpp.KIND])
        counter, _ = tracked()
        self._job = ReceiptJob(
            self._table,
            Ledger(connections),
            SegmentTable(connections),
            FakeAddresses(),
            {smpp.KIND: READ_SMPP},
            counter,
        )
        self._quality = QualityTable(connections)
        self._config = ConfigCache(connections, with_lanes=True)
        self._random = Random(11)

    @asynccontextmanager
    async def account(self) -> AsyncIterator[Account]:
        lane_id = await sms_lane(self._database.pool, self._app)
        async with smsc() as carrier:
            settings = {"host": "127.0.0.1", "port": carrier.port, "system_id": "clarion", "source": "Shop", "binds": 1}
            receipts = Receipts(self._table, self._app.app_id, lane_id)
            provider = await Factory().connect(json.dumps(settings).encode(), receipts)
            try:
                yield Account(lane_id, carrier, provider)
            finally:
                await provider.close()

    async def route(self, *accounts: Account) -> None:
        """Half of the traffic for each, by receipts."""
        names = await self._database.pool.fetch("SELECT name FROM ledger.lane")
        route = Route(targets=[Target(provider=row["name"], weight=50) for row in names], by_receipts=True)
        assert len(names) == len(accounts)
        await admin.put_routes(
            self._database.pool, self._app.app_id, ChannelRoutes(channel=CHANNEL_SMS, routes=[route])
        )

    async def send(self, account: Account, count: int) -> None:
        """Hand messages over through an account, and apply the receipts that come back."""
        for _ in range(count):
            sms = await claimed_sms(self._database.pool, self._app, account.lane_id, "KR")
            results: dict[UUID, Result] = {}
            message = Message(
                sms.id,
                Address(sms=PhoneNumber(e164="+821012345678")),
                Rendered(sms=SmsContent(text="Hi")),
                PRIORITY_NORMAL,
                datetime.now(UTC) + timedelta(hours=1),
            )
            await account.provider.send([message], _into(results))
            result = results[sms.id]
            assert result.outcome is Outcome.ACCEPTED
            await record_answer(self._database.pool, sms, DeliveryState.SENT, result.outcome, list(result.receipt_ids))
        account.received += count
        await account.carrier.until_acknowledged(account.received)
        await self._job.run(lambda: False)

    async def quarter_of_an_hour_later(self) -> None:
        await self._database.pool.execute("UPDATE ledger.receipt_tally SET minute = minute - interval '16 minutes'")

    async def shares(self) -> Counter[int]:
        """Of a thousand deliveries, after the roll-up and a look at the configuration."""
        await roll(self._quality)
        await self._config.refresh()
        chosen = (
            choose_lane(
                self._config.snapshot,
                self._app.app_id,
                Channel.SMS,
                country="KR",
                locale="ko",
                hint="",
                random=self._random,
            )
            for _ in range(1_000)
        )
        return Counter(lane_id for lane_id in chosen if lane_id is not None)


def _into(results: dict[UUID, Result]) -> Report:
    def report(message: Message, result: Result) -> None:
        results[message.delivery_id] = result

    return report


async def test_traffic_leaves_an_account_that_delivers_nothing_and_comes_back_when_it_does(
    database: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "LEAST_SAMPLES", SAMPLES)
    async with pool(f"{database.url}?role=clarion_tracker", size=4, application="test") as connections:
        world = World(database, connections, app)
        async with world.account() as good, world.account() as bad:
            await world.route(good, bad)
            bad.carrier.stat = "UNDELIV"

            before = await world.shares()
            await world.send(good, SAMPLES)
            await world.send(bad, SAMPLES)
            meanwhile = await world.shares()
            bad.carrier.stat = "DELIVRD"
            await world.quarter_of_an_hour_later()
            await world.send(bad, SAMPLES)
            after = await world.shares()

    assert 430 < before[bad.lane_id] < 570
    assert 25 < meanwhile[bad.lane_id] < 80
    assert meanwhile[good.lane_id] + meanwhile[bad.lane_id] == 1_000
    assert 430 < after[bad.lane_id] < 570
