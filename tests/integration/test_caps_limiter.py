"""Caps as planner and dispatchers ask for them, decided by the rate limiter on Valkey."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from uuid import UUID, uuid4

import grpc
import pytest_asyncio

from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import add_RateLimitServiceServicer_to_server
from clarion_channels.caps import LimiterCaps
from clarion_kit.rpc.client import Peer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel
from clarion_ledger.caps import CapQuery, Dedupe
from clarion_ledger.config import Cap, CapPeriod
from clarion_rate_limiter.adapters.valkey import ValkeyLimits
from clarion_rate_limiter.deciding import Decider
from clarion_rate_limiter.local import LocalLimits
from clarion_rate_limiter.rpc import RateLimitRpc

DAY = timedelta(days=1)
TWO_A_DAY = Cap(None, 2, timedelta(0), CapPeriod.DAY)
_apps = count(700_000)


@pytest_asyncio.fixture
async def caps(valkey_url: str, telemetry: Telemetry) -> AsyncIterator[LimiterCaps]:
    async with ValkeyLimits.connect(valkey_url, connections=2) as shared:
        server = grpc.aio.server()
        rpc = RateLimitRpc(Decider(shared, LocalLimits(lambda: 0), telemetry.metrics))
        add_RateLimitServiceServicer_to_server(rpc, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield LimiterCaps(Peer("rate_limiter", channel, telemetry))
        await server.stop(None)


def query(app: int, *limits: Cap, id_: UUID | None = None, person: bytes = b"r" * 16, content: bytes = b"") -> CapQuery:
    dedupe = Dedupe(b"a" * 16, content, DAY) if content else None
    return CapQuery(app, id_ or uuid4(), person, "offers", Channel.SMS, limits, "Asia/Seoul", dedupe)


async def test_calendar_cap_says_that_it_is_near_then_when_it_has_room(caps: LimiterCaps) -> None:
    app = next(_apps)
    answers = [(await caps.acquire([query(app, TWO_A_DAY)]))[0] for _ in range(3)]

    assert [answer.allowed for answer in answers] == [True, True, False]
    assert (answers[0].near, bool(answers[1].near)) == ("", True)
    assert answers[2].rule == "category offers: 2 per day on all channels"
    assert answers[2].retry_after is not None
    assert timedelta(0) < answers[2].retry_after <= timedelta(hours=25)


async def test_cap_that_is_near_is_told_beside_a_smaller_one_and_a_window_of_contents(caps: LimiterCaps) -> None:
    app = next(_apps)
    limits = (Cap(None, 2, DAY), Cap(None, 3, timedelta(days=7)))
    persons = (b"a" * 16, b"b" * 16)

    first = [(await caps.acquire([query(app, *limits, person=one, content=one * 2)]))[0] for one in persons]
    await caps.acquire([query(app, limits[1], person=persons[0])])
    [second] = await caps.acquire([query(app, *limits, person=persons[0], content=b"c" * 32)])

    assert [answer.near for answer in first] == ["", ""]
    assert second.near.split("; ") == [
        "category offers: 2 per 1 day, 0:00:00 on all channels",
        "category offers: 3 per 7 days, 0:00:00 on all channels",
    ]


async def test_same_delivery_counts_once_however_often_it_asks(caps: LimiterCaps) -> None:
    app, id_ = next(_apps), uuid4()
    for _ in range(4):
        [answer] = await caps.acquire([query(app, TWO_A_DAY, id_=id_)])
        assert answer.allowed

    assert (await caps.acquire([query(app, TWO_A_DAY)]))[0].allowed


async def test_peek_takes_nothing(caps: LimiterCaps) -> None:
    app = next(_apps)
    for _ in range(3):
        assert (await caps.peek([query(app, Cap(None, 1, DAY))]))[0].allowed

    assert (await caps.acquire([query(app, Cap(None, 1, DAY))]))[0].allowed


async def test_cap_on_trial_counts_and_stops_nothing(caps: LimiterCaps) -> None:
    app = next(_apps)
    trial = Cap(None, 1, DAY, shadow=True)

    [first] = await caps.acquire([query(app, trial)])
    [second] = await caps.acquire([query(app, trial)])

    assert (first.allowed, first.shadow) == (True, "")
    assert (second.allowed, second.shadow) == (True, "category offers: 1 per 1 day, 0:00:00 on all channels")


async def test_quota_of_the_app_holds_over_all_recipients(caps: LimiterCaps) -> None:
    app = next(_apps)
    quota = Cap(None, 1, DAY, whole_app=True)

    [first] = await caps.acquire([query(app, quota, person=b"a" * 16)])
    [second] = await caps.acquire([query(app, quota, person=b"b" * 16)])

    assert (first.allowed, second.allowed) == (True, False)


async def test_same_content_goes_once_and_a_closed_cap_does_not_use_it_up(caps: LimiterCaps) -> None:
    app, other = next(_apps), next(_apps)
    [first] = await caps.acquire([query(app, content=b"x" * 32)])
    [second] = await caps.acquire([query(app, content=b"x" * 32)])
    [different] = await caps.acquire([query(app, content=b"y" * 32)])
    full = Cap(None, 1, DAY)
    await caps.acquire([query(other, full)])
    [capped] = await caps.acquire([query(other, full, content=b"x" * 32)])
    [later] = await caps.acquire([query(other, content=b"x" * 32)])

    assert (first.allowed, second.allowed, second.duplicate, different.allowed) == (True, False, True, True)
    assert (capped.allowed, capped.duplicate, later.allowed) == (False, False, True)


async def test_limiter_that_is_away_leaves_caps_open_and_says_so(telemetry: Telemetry) -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        away = LimiterCaps(Peer("rate_limiter", channel, telemetry))

        [answer] = await away.acquire([query(1, TWO_A_DAY)])

    assert (answer.allowed, answer.unchecked) == (True, True)
