"""Following notifications: Get, List, Cancel, dead letters."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.deadletter.v1 import dead_letter_service_pb2 as deadletter
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import state_pb2 as state
from clarion.types.v1.channel_pb2 import Channel
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel as LedgerChannel
from clarion_kit.vocabulary import Reason
from clarion_ledger.ids import delivery_id
from clarion_ledger.planning import Plan, PlannedDelivery, load, plan

from .gateway_samples import Client, Gateway, notification, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def later() -> Timestamp:
    return stamp(datetime.now(UTC) + timedelta(hours=1))


async def listed(client: Client, **wanted: object) -> pb.ListResponse:
    return await client.notifications.List(pb.ListRequest(**wanted), metadata=client.auth)  # type: ignore[arg-type]


async def cancel(client: Client, id_: str) -> pb.CancelResponse:
    return await client.notifications.Cancel(pb.CancelRequest(notification_id=id_), metadata=client.auth)


async def planned(client: Client, id_: str, recipient: str, *, in_flight: bool) -> UUID:
    """As the planner would: one suppressed delivery, and one in flight if wanted."""
    pool = client.gateway.pool
    ref = UUID(bytes=recipient_reference(client.app_id, recipient))
    lane_id = await pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'fcm', 2, '') RETURNING lane_id",
        client.app_id,
        uuid4().hex,
    )
    notification_id, address = UUID(id_), UUID(int=1)
    deliveries = [
        PlannedDelivery(
            delivery_id(notification_id, ref, LedgerChannel.EMAIL, None),
            ref,
            LedgerChannel.EMAIL,
            reason=Reason.NO_ADDRESS,
        )
    ]
    if in_flight:
        deliveries.append(
            PlannedDelivery(
                delivery_id(notification_id, ref, LedgerChannel.ANDROID, address),
                ref,
                LedgerChannel.ANDROID,
                address_id=address,
                lane_id=lane_id,
                address=b"sealed",
                content=b"sealed",
            )
        )
    [source] = await load(pool, [notification_id])
    await plan(pool, [Plan(source, deliveries, max_attempts=3, at_most_once=False)])
    return deliveries[-1].delivery_id


async def test_notification_is_shown_from_acceptance_to_its_end(gateway: Gateway) -> None:
    client = await gateway.app()
    item = notification(recipient_ids=["anna"])
    sent = await client.send(item)

    accepted = await client.get(sent.notification_id)
    await planned(client, sent.notification_id, "anna", in_flight=False)
    done = await client.get(sent.notification_id)

    view = accepted.notification
    assert (view.state, view.event_id, view.category) == (
        state.NOTIFICATION_STATE_ACCEPTED,
        item.event_id,
        "transactional",
    )
    assert view.expire_at.seconds - view.accepted_at.seconds == 24 * 3600
    assert [entry.kind for entry in accepted.timeline] == [pb.EVENT_KIND_ACCEPTED]
    assert done.notification.state == state.NOTIFICATION_STATE_DONE
    [delivery] = done.deliveries
    assert (delivery.channel, delivery.state, delivery.reason) == (
        Channel.CHANNEL_EMAIL,
        state.DELIVERY_STATE_SUPPRESSED,
        state.REASON_NO_ADDRESS,
    )
    assert delivery.recipient_ref == str(UUID(bytes=recipient_reference(client.app_id, "anna")))
    kinds = {entry.kind for entry in done.timeline}
    assert kinds == {pb.EVENT_KIND_ACCEPTED, pb.EVENT_KIND_PLANNED, pb.EVENT_KIND_TERMINAL}


async def test_scheduled_notification_rests_and_is_found_by_its_event_id(gateway: Gateway) -> None:
    client = await gateway.app()
    due = later()
    item = notification(deliver_at=due)

    sent = await client.send(item)
    found = await client.notifications.Get(pb.GetRequest(event_id=item.event_id), metadata=client.auth)

    assert found.notification.notification_id == sent.notification_id
    assert found.notification.state == state.NOTIFICATION_STATE_SCHEDULED
    assert abs(found.notification.deliver_at.seconds - due.seconds) <= 1
    assert [entry.kind for entry in found.timeline] == [pb.EVENT_KIND_SCHEDULED]


async def test_trace_of_the_caller_is_shown(gateway: Gateway) -> None:
    client = await gateway.app()
    trace_id = uuid4().hex
    traced = (*client.auth, ("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"))

    sent = await client.notifications.Send(pb.SendRequest(notification=notification()), metadata=traced)

    assert (await client.get(sent.notification_id)).notification.trace_id == trace_id


async def test_test_send_is_marked_when_shown_and_listed(gateway: Gateway) -> None:
    client = await gateway.app("send:*", "template:write", "status:read")
    plain, tried = [(await client.send(notification(test=test))).notification_id for test in (False, True)]

    answer = await listed(client)

    assert (await client.get(tried)).notification.test
    assert {view.notification_id: view.test for view in answer.notifications} == {plain: False, tried: True}


async def test_what_belongs_to_another_app_is_not_found(gateway: Gateway) -> None:
    owner, stranger = await gateway.app(), await gateway.app()
    item = notification()
    sent = await owner.send(item)
    scheduled = await owner.send(notification(deliver_at=later()))
    questions: list[Awaitable[object]] = [
        stranger.get(sent.notification_id),
        stranger.get(scheduled.notification_id),
        stranger.notifications.Get(pb.GetRequest(event_id=item.event_id), metadata=stranger.auth),
        stranger.get(str(uuid4())),
        cancel(stranger, sent.notification_id),
        cancel(stranger, scheduled.notification_id),
    ]

    refusals = [await refusal(question) for question in questions]

    assert {(one.code, one.reason) for one in refusals} == {(grpc.StatusCode.NOT_FOUND, "NOTIFICATION_NOT_FOUND")}
    assert (await owner.get(sent.notification_id)).notification.state == state.NOTIFICATION_STATE_ACCEPTED
    assert list((await listed(stranger)).notifications) == []


async def test_list_pages_newest_first_without_gap_or_repeat(gateway: Gateway) -> None:
    client = await gateway.app()
    sent = [(await client.send(notification())).notification_id for _ in range(7)]

    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        answer = await listed(client, page_size=3, page_token=token)
        pages.append([view.notification_id for view in answer.notifications])
        token = answer.next_page_token

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [id_ for page in pages for id_ in page] == sorted(sent, reverse=True)


async def test_list_filters_by_category_recipient_and_time(gateway: Gateway) -> None:
    client = await gateway.app()
    plain = (await client.send(notification())).notification_id
    secure = (await client.send(notification(category="security", recipient_ids=["bea"]))).notification_id
    await planned(client, secure, "bea", in_flight=True)
    at = (await client.get(secure)).notification.accepted_at.ToDatetime(UTC)

    async def found(**wanted: object) -> list[str]:
        return [view.notification_id for view in (await listed(client, **wanted)).notifications]

    assert await found(category="security") == [secure]
    assert await found(recipient_id="bea") == [secure]
    assert await found(recipient_id="carl") == []
    assert await found(since=stamp(at - timedelta(minutes=1)), until=stamp(at + timedelta(minutes=1))) == [
        secure,
        plain,
    ]
    assert await found(since=stamp(at + timedelta(minutes=1))) == []
    assert await found(until=stamp(at - timedelta(minutes=1))) == []
    assert await found(until=stamp(datetime(1960, 1, 1, tzinfo=UTC))) == []
    assert await found(since=stamp(datetime(1960, 1, 1, tzinfo=UTC))) == [secure, plain]


async def test_cancel_ends_what_is_scheduled_accepted_or_in_flight(gateway: Gateway) -> None:
    client = await gateway.app()
    scheduled = await client.send(notification(deliver_at=later()))
    accepted = await client.send(notification())
    flying = await client.send(notification())
    await planned(client, flying.notification_id, "anna", in_flight=True)

    answers = [await cancel(client, sent.notification_id) for sent in (scheduled, accepted, flying)]
    repeated = await cancel(client, accepted.notification_id)

    assert [answer.state for answer in answers] == [
        state.NOTIFICATION_STATE_CANCELLED,
        state.NOTIFICATION_STATE_CANCELLED,
        state.NOTIFICATION_STATE_DONE,
    ]
    assert (answers[2].cancelled_deliveries, answers[2].unaffected_deliveries) == (1, 1)
    assert repeated.state == state.NOTIFICATION_STATE_CANCELLED
    shown = await client.get(flying.notification_id)
    assert {delivery.state for delivery in shown.deliveries} == {
        state.DELIVERY_STATE_CANCELLED,
        state.DELIVERY_STATE_SUPPRESSED,
    }


async def test_cancel_of_what_is_over_is_refused(gateway: Gateway) -> None:
    client = await gateway.app()
    sent = await client.send(notification())
    await planned(client, sent.notification_id, "anna", in_flight=False)

    refused = await refusal(cancel(client, sent.notification_id))

    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_CANCELLABLE")
    assert refused.metadata == {"state": "DONE"}


async def test_dead_letters_are_listed_by_page_channel_and_reason(gateway: Gateway) -> None:
    client, stranger = await gateway.app(), await gateway.app()
    ids = sorted((str(uuid4()) for _ in range(5)), reverse=True)
    for place, id_ in enumerate(ids):
        await gateway.pool.execute(
            """INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, channel, reason, attempts, last_code)
               VALUES ($1, $2, $3, $4, $5, 8, '503')""",
            id_,
            uuid4(),
            client.app_id,
            1 if place < 2 else 4,
            80 if place % 2 else 81,
        )

    async def letters(of: Client, **wanted: object) -> deadletter.ListDeadLettersResponse:
        request = deadletter.ListDeadLettersRequest(**wanted)  # type: ignore[arg-type]
        return await of.dead_letters.ListDeadLetters(request, metadata=of.auth)

    first = await letters(client, page_size=3)
    rest = await letters(client, page_size=3, page_token=first.next_page_token)
    assert [letter.delivery_id for letter in [*first.dead_letters, *rest.dead_letters]] == ids
    assert (rest.next_page_token, first.dead_letters[0].last_code, first.dead_letters[0].attempts) == ("", "503", 8)
    sms = await letters(client, channel=Channel.CHANNEL_SMS)
    assert [letter.delivery_id for letter in sms.dead_letters] == ids[2:]
    poison = await letters(client, reason=state.REASON_POISON)
    assert [letter.delivery_id for letter in poison.dead_letters] == ids[::2]
    assert not (await letters(stranger)).dead_letters
