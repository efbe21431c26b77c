"""BroadcastService on a real ledger: durable, idempotent, its own app's alone."""

from datetime import UTC, datetime, timedelta
from unittest.mock import create_autospec
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio

from clarion.broadcast.v1 import broadcast_service_pb2 as pb
from clarion.notification.v1.notification_service_pb2 import ChannelPolicy
from clarion.types.v1.channel_pb2 import CHANNEL_IOS, CHANNEL_SMS
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import calling_as
from clarion_kit.sealing import KeyWrapper
from clarion_ledger import audit_log, broadcasts
from clarion_testkit.plugin import App, Database

from .broadcast_samples import Office, office, sale
from .scheduler_samples import Replica, new_app

CONTEXT = create_autospec(grpc.aio.ServicerContext)


@pytest_asyncio.fixture
async def desk(database: Database, app: App) -> Office:
    return await office(database.pool, app)


async def start(desk: Office, request: pb.StartBroadcastRequest) -> pb.StartBroadcastResponse:
    with calling_as(desk.caller()):
        return await desk.broadcasts.StartBroadcast(request, CONTEXT)


async def shown(desk: Office, broadcast_id: str) -> pb.GetBroadcastResponse:
    with calling_as(desk.caller()):
        return await desk.broadcasts.GetBroadcast(pb.GetBroadcastRequest(broadcast_id=broadcast_id), CONTEXT)


async def test_started_broadcast_is_shown_as_it_was_asked_for(desk: Office) -> None:
    answer = await start(desk, sale(pace_per_second=50))

    found = (await shown(desk, answer.broadcast_id)).broadcast
    assert (found.event_id, found.category, found.pace_per_second) == ("sale", "marketing", 50)
    assert (found.state, found.priority) == (pb.BROADCAST_STATE_RUNNING, 3)
    assert (found.planned, found.total) == (0, 0)


async def test_second_start_with_the_same_event_id_gives_the_first_broadcast(desk: Office) -> None:
    first = await start(desk, sale())
    second = await start(desk, sale())

    assert second.broadcast_id == first.broadcast_id
    assert (first.duplicate, second.duplicate) == (False, True)


async def test_event_id_of_another_payload_is_refused(desk: Office) -> None:
    await start(desk, sale())

    with pytest.raises(DomainError) as refused:
        await start(desk, sale(topic="other"))

    assert refused.value.reason is ErrorReason.EVENT_ID_REUSED


async def test_unknown_category_and_template_are_refused(desk: Office) -> None:
    with pytest.raises(DomainError) as category:
        await start(desk, sale(category="nothing"))
    desk.templates.refusal = DomainError(ErrorReason.TEMPLATE_NOT_FOUND, "none")
    with pytest.raises(DomainError) as template:
        await start(desk, sale(content=None, template="nothing"))

    assert (category.value.reason, template.value.reason) == (
        ErrorReason.CATEGORY_NOT_FOUND,
        ErrorReason.TEMPLATE_NOT_FOUND,
    )


async def test_name_of_its_template_stands_beside_the_sealed_request(desk: Office) -> None:
    started = [await start(desk, sale("own")), await start(desk, sale("made", content=None, template="summer"))]

    rows = await desk.pool.fetch(
        "SELECT broadcast_id::text AS id, template FROM ledger.broadcast WHERE app_id = $1", desk.app.app_id
    )

    assert {row["id"]: row["template"] for row in rows} == {
        started[0].broadcast_id: None,
        started[1].broadcast_id: "summer",
    }


async def test_token_for_one_channel_reaches_that_channel_alone(desk: Office) -> None:
    with calling_as(desk.caller("send:ios")):
        answer = await desk.broadcasts.StartBroadcast(sale(), CONTEXT)
        other = sale("other", channel_policy=ChannelPolicy(channels=[CHANNEL_SMS]))
        with pytest.raises(DomainError) as refused:
            await desk.broadcasts.StartBroadcast(other, CONTEXT)

    row = await desk.pool.fetchrow(
        "SELECT event_id, payload FROM ledger.broadcast WHERE broadcast_id = $1::text::uuid", answer.broadcast_id
    )
    assert row is not None
    sealer = await desk.app.keys.sealer(desk.app.app_id)
    stored = pb.StartBroadcastRequest.FromString(
        sealer.open("broadcast", row["event_id"].encode(), "payload", row["payload"])
    )
    assert list(stored.channel_policy.channels) == [CHANNEL_IOS]
    assert refused.value.reason is ErrorReason.SCOPE_MISSING


async def test_pause_resume_and_cancel_may_be_repeated_and_are_in_the_audit_log(
    database: Database, desk: Office
) -> None:
    answer = await start(desk, sale())
    id_ = answer.broadcast_id
    rpc = desk.broadcasts
    states = []
    with calling_as(desk.caller()):
        for _ in range(2):
            paused = await rpc.PauseBroadcast(pb.PauseBroadcastRequest(broadcast_id=id_), CONTEXT)
            states.append(paused.broadcast.state)
        for _ in range(2):
            resumed = await rpc.ResumeBroadcast(pb.ResumeBroadcastRequest(broadcast_id=id_), CONTEXT)
            states.append(resumed.broadcast.state)
        for _ in range(2):
            cancelled = await rpc.CancelBroadcast(pb.CancelBroadcastRequest(broadcast_id=id_), CONTEXT)
            states.append(cancelled.broadcast.state)

    assert states == [
        *[pb.BROADCAST_STATE_PAUSED] * 2,
        *[pb.BROADCAST_STATE_RUNNING] * 2,
        *[pb.BROADCAST_STATE_CANCELLING] * 2,
    ]
    _, *found = (await audit_log.page(database.pool, app_id=desk.app.app_id, size=10))[0]
    assert [entry.act for entry in found] == ["StartBroadcast", "PauseBroadcast", "ResumeBroadcast", "CancelBroadcast"]
    assert {(entry.target, entry.actor_key) for entry in found} == {(f"broadcast {id_}", "key")}


async def test_cancelled_broadcast_can_neither_pause_nor_go_on(desk: Office, replica: Replica) -> None:
    answer = await start(desk, sale())
    with calling_as(desk.caller()):
        await desk.broadcasts.CancelBroadcast(pb.CancelBroadcastRequest(broadcast_id=answer.broadcast_id), CONTEXT)
        await replica.jobs.broadcasts()
        with pytest.raises(DomainError) as refused:
            await desk.broadcasts.ResumeBroadcast(pb.ResumeBroadcastRequest(broadcast_id=answer.broadcast_id), CONTEXT)

    assert (refused.value.reason, refused.value.metadata) == (ErrorReason.BROADCAST_ENDED, {"state": "CANCELLED"})


async def test_broadcast_past_its_deadline_expires(desk: Office, replica: Replica) -> None:
    answer = await start(desk, sale())
    await desk.pool.execute("UPDATE ledger.broadcast SET expire_at = now()")

    await replica.jobs.broadcasts()

    assert (await shown(desk, answer.broadcast_id)).broadcast.state == pb.BROADCAST_STATE_EXPIRED


async def test_scheduled_broadcast_waits_for_its_time(desk: Office) -> None:
    request = sale()
    request.deliver_at.FromDatetime(datetime.now(UTC) + timedelta(days=2))

    answer = await start(desk, request)

    assert (await shown(desk, answer.broadcast_id)).broadcast.deliver_at == request.deliver_at
    assert await broadcasts.claim(desk.pool) is None


async def test_listing_gives_every_broadcast_once_newest_first(desk: Office) -> None:
    ids = [(await start(desk, sale(f"e{n}"))).broadcast_id for n in range(5)]
    found: list[str] = []
    token = ""
    with calling_as(desk.caller()):
        while True:
            page = await desk.broadcasts.ListBroadcasts(
                pb.ListBroadcastsRequest(page_size=2, page_token=token), CONTEXT
            )
            found += [one.broadcast_id for one in page.broadcasts]
            token = page.next_page_token
            if not token:
                break

    assert found == sorted(ids, reverse=True)


@pytest.mark.parametrize("token", ["x", "AAAA", "not base64!"])
async def test_page_token_of_somebody_else_is_refused(desk: Office, token: str) -> None:
    with calling_as(desk.caller()), pytest.raises(DomainError) as refused:
        await desk.broadcasts.ListBroadcasts(pb.ListBroadcastsRequest(page_token=token), CONTEXT)

    assert refused.value.reason is ErrorReason.INVALID_FIELD


@pytest.mark.parametrize("id_", ["", "nonsense", "01a20577-0027-70e7-8e5e-af135e6fd6e9"])
async def test_unknown_broadcast_is_not_found_or_no_id(desk: Office, id_: str) -> None:
    rpc = desk.broadcasts
    reasons = set()
    with calling_as(desk.caller()):
        for call in (
            lambda: rpc.GetBroadcast(pb.GetBroadcastRequest(broadcast_id=id_), CONTEXT),
            lambda: rpc.PauseBroadcast(pb.PauseBroadcastRequest(broadcast_id=id_), CONTEXT),
            lambda: rpc.ResumeBroadcast(pb.ResumeBroadcastRequest(broadcast_id=id_), CONTEXT),
            lambda: rpc.CancelBroadcast(pb.CancelBroadcastRequest(broadcast_id=id_), CONTEXT),
        ):
            with pytest.raises(DomainError) as refused:
                await call()
            reasons.add(refused.value.reason)

    assert reasons == {ErrorReason.BROADCAST_NOT_FOUND if len(id_) == 36 else ErrorReason.INVALID_FIELD}


async def test_broadcast_of_another_app_is_not_found(database: Database, desk: Office, kek: KeyWrapper) -> None:
    answer = await start(desk, sale())
    stranger = await office(database.pool, await new_app(database.pool, kek, f"stranger-{uuid4().hex[:8]}"))

    with pytest.raises(DomainError) as refused:
        await shown(stranger, answer.broadcast_id)

    assert refused.value.reason is ErrorReason.BROADCAST_NOT_FOUND
