"""Accounts of this dispatcher: return paths are signed for the account, or the account is not used at all."""

import json
from datetime import timedelta

import pytest

from clarion_channels.engine.lanes import Lanes, LaneUnusable
from clarion_channels.engine.policies import Policies
from clarion_channels.providers.smtp import Factory
from clarion_channels.providers.smtp.provider import SmtpProvider
from clarion_dispatcher_email.app import mail_factories
from clarion_kit.vocabulary import Channel
from clarion_ledger import admin
from clarion_ledger.config import ConfigCache, LaneConfig
from clarion_testkit.plugin import App, Database

KEY = bytes(range(32))
ACCOUNT = {"host": "mx.example.com", "from_address": "shop@example.com", "return_path_domain": "bounces.example.com"}


class Unexpected:
    """Receipts that nobody sends."""

    def __init__(self, lane: LaneConfig) -> None:
        self._lane = lane

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError(f"lane {self._lane.lane_id} got a receipt")


async def account(database: Database, app: App) -> int:
    sealer = await app.keys.sealer(app.app_id)
    return await admin.put_lane(
        database.pool, sealer, app.app_id, "relay", "smtp", Channel.EMAIL, json.dumps(ACCOUNT).encode(), enabled=True
    )


async def lanes(database: Database, app: App, link_key: bytes | None) -> Lanes:
    config = ConfigCache(database.pool, with_lanes=True)
    await config.refresh()
    return Lanes(
        Channel.EMAIL,
        config,
        app.keys,
        mail_factories(link_key, database.pool),
        Unexpected,
        Policies.load(),
        longest_timeout=timedelta(minutes=1),
        most_open=100,
    )


async def test_account_that_wants_return_paths_is_made_for_its_lane(
    database: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = Factory.for_lane

    def for_lane(factory: Factory, lane_id: int) -> Factory:
        asked.append(lane_id)
        return plain(factory, lane_id)

    monkeypatch.setattr(Factory, "for_lane", for_lane)
    lane_id = await account(database, app)
    made = await lanes(database, app, KEY)

    lane = await made.get(lane_id)
    await made.close()

    assert isinstance(lane.provider, SmtpProvider)
    assert asked == [lane_id]


async def test_account_that_wants_return_paths_is_not_used_without_their_key(database: Database, app: App) -> None:
    lane_id = await account(database, app)
    made = await lanes(database, app, None)

    with pytest.raises(LaneUnusable, match="return_path_domain"):
        await made.get(lane_id)
