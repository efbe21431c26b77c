"""Dead letters over the gateway: looked at whole, redriven by ids and by filter."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.types.v1.channel_pb2 import Channel
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome as ProviderOutcome
from clarion_gateway.rpc.letters import parse_position, position_token
from clarion_kit.errors import DomainError
from clarion_kit.vocabulary import Channel as LedgerChannel
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.ids import delivery_id
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, load, plan
from clarion_ledger.redriving import Outcome, Position

from .gateway_samples import Client, Gateway, notification, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELLO = Rendered(push=PushContent(title="Hello", body="World", link="https://shop.example/1"))
LEASE = timedelta(seconds=30)


async def dead(client: Client, *, content: Rendered = HELLO, code: str = "503", provider: str = "") -> str:
    """A dead letter as accept, planner and dispatcher make one: its delivery id."""
    gateway = client.gateway
    sent = await client.send(notification())
    [source] = await load(gateway.pool, [UUID(sent.notification_id)])
    ref, address = uuid4(), uuid4()
    id_ = delivery_id(source.notification_id, ref, LedgerChannel.ANDROID, address)
    sealer = await KeyRing(gateway.pool, gateway.kek).sealer(client.app_id)
    lane_id = await gateway.pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'fcm', 2, '') RETURNING lane_id",
        client.app_id,
        provider or uuid4().hex,
    )
    planned = PlannedDelivery(
        id_,
        ref,
        LedgerChannel.ANDROID,
        address_id=address,
        lane_id=lane_id,
        address=b"sealed",
        content=sealer.seal("delivery", id_.bytes, "content", content.SerializeToString()),
    )
    await plan(gateway.pool, [Plan(source, [planned], max_attempts=1, at_most_once=False)])
    [claimed] = await claim(gateway.pool, [id_], LEASE)
    ended = Record(
        claimed,
        DeliveryState.DEAD_LETTERED,
        Reason.RETRIES_EXHAUSTED,
        outcome=ProviderOutcome.RETRY,
        code=code,
        duration=timedelta(milliseconds=70),
    )
    await record(gateway.pool, [ended])
    return str(id_)


async def shown(client: Client, id_: str) -> pb.GetDeadLetterResponse:
    return await client.dead_letters.GetDeadLetter(pb.GetDeadLetterRequest(delivery_id=id_), metadata=client.auth)


async def redriven(client: Client, request: pb.RedriveRequest) -> pb.RedriveResponse:
    return await client.dead_letters.Redrive(request, metadata=client.auth, timeout=20)


async def test_letter_is_shown_with_its_attempts_and_its_content(gateway: Gateway) -> None:
    client = await gateway.app()
    id_ = await dead(client, provider="fcm-main")

    whole = await shown(client, id_)

    assert (whole.dead_letter.delivery_id, whole.dead_letter.provider, whole.category) == (
        id_,
        "fcm-main",
        "transactional",
    )
    [attempt] = whole.attempts
    assert (attempt.attempt, attempt.provider, attempt.outcome, attempt.code) == (
        1,
        "fcm-main",
        pb.ATTEMPT_OUTCOME_RETRY,
        "503",
    )
    assert attempt.duration.ToMilliseconds() == 70
    assert (whole.content_state, whole.content.push) == (pb.CONTENT_STATE_PRESENT, HELLO.push)


async def test_letter_says_where_its_content_went(gateway: Gateway) -> None:
    client = await gateway.app()
    gone, damaged = await dead(client), await dead(client)
    lost_frame = await dead(client, content=Rendered(mail=RenderedMail(subject="s", frame_sha256=b"\1" * 32)))
    await gateway.pool.execute("DELETE FROM ledger.delivery_body WHERE id = $1", gone)
    await gateway.pool.execute("UPDATE ledger.delivery_body SET content = 'x' WHERE id = $1", damaged)

    states = [(await shown(client, id_)).content_state for id_ in (gone, damaged, lost_frame)]

    assert states == [pb.CONTENT_STATE_GONE, pb.CONTENT_STATE_UNREADABLE, pb.CONTENT_STATE_UNREADABLE]


async def test_letter_of_another_app_is_not_there(gateway: Gateway) -> None:
    client, stranger = await gateway.app(), await gateway.app()
    id_ = await dead(client)

    refused = await refusal(shown(stranger, id_))
    answer = await redriven(stranger, pb.RedriveRequest(delivery_ids=[id_]))

    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NOTIFICATION_NOT_FOUND")
    assert [result.outcome for result in answer.results] == [pb.REDRIVE_OUTCOME_NOT_FOUND]


@pytest.mark.parametrize("method", ["GetDeadLetter", "Redrive"])
async def test_content_and_redrive_need_their_scope(gateway: Gateway, method: str) -> None:
    client = await gateway.app("status:read")
    id_ = str(uuid4())
    call = shown(client, id_) if method == "GetDeadLetter" else redriven(client, pb.RedriveRequest(delivery_ids=[id_]))

    refused = await refusal(call)

    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")


async def test_redriven_letter_is_in_flight_again_under_its_notification(gateway: Gateway) -> None:
    client = await gateway.app()
    id_ = await dead(client)

    answer = await redriven(client, pb.RedriveRequest(delivery_ids=[id_, str(UUID(int=5))]))
    again = await redriven(client, pb.RedriveRequest(delivery_ids=[id_]))

    [first, second] = answer.results
    assert (first.outcome, second.outcome) == (pb.REDRIVE_OUTCOME_REDRIVEN, pb.REDRIVE_OUTCOME_NOT_FOUND)
    assert list(answer.new_delivery_ids) == [first.new_delivery_id, ""]
    assert [(one.outcome, one.new_delivery_id) for one in again.results] == [
        (pb.REDRIVE_OUTCOME_ALREADY_REDRIVEN, first.new_delivery_id)
    ]
    whole = await client.get((await shown(client, id_)).dead_letter.notification_id)
    states = {one.delivery_id: one.state for one in whole.deliveries}
    assert states == {
        id_: state_pb2.DELIVERY_STATE_DEAD_LETTERED,
        first.new_delivery_id: state_pb2.DELIVERY_STATE_RETRY_WAIT,
    }
    [entry] = [e for e in whole.timeline if e.kind == notification_service_pb2.EVENT_KIND_REDRIVEN]
    assert entry.code == f"key-{client.app_id}"


async def test_filter_takes_the_oldest_page_by_page_and_repeats_itself(gateway: Gateway) -> None:
    client = await gateway.app()
    ids = [await dead(client, code="429") for _ in range(3)]
    other = await dead(client, code="500")
    request = pb.RedriveRequest(filter=pb.DeadLetterFilter(last_code="429"), max=2, rate_per_second=10)

    first = await redriven(client, request)
    repeated = await redriven(client, request)
    rest = await redriven(
        client,
        pb.RedriveRequest(
            filter=request.filter,
            max=2,
            rate_per_second=10,
            page_token=first.next_page_token,
            due_at=first.next_due_at,
        ),
    )

    assert [result.delivery_id for result in first.results] == ids[:2]
    assert list(repeated.new_delivery_ids) == list(first.new_delivery_ids)
    assert {result.outcome for result in repeated.results} == {pb.REDRIVE_OUTCOME_ALREADY_REDRIVEN}
    assert [result.delivery_id for result in rest.results] == ids[2:]
    assert rest.next_page_token == ""
    due = [
        await gateway.pool.fetchval("SELECT due_at FROM ledger.delivery_work WHERE delivery_id = $1", id_)
        for id_ in (*first.new_delivery_ids, *rest.new_delivery_ids)
    ]
    gaps = [later - earlier for earlier, later in pairwise(due)]
    assert gaps == [timedelta(milliseconds=100)] * 2
    assert not (await shown(client, other)).dead_letter.redriven_as


async def test_list_filters_by_redrive(gateway: Gateway) -> None:
    client = await gateway.app()
    done, waiting = await dead(client), await dead(client)
    await redriven(client, pb.RedriveRequest(delivery_ids=[done]))

    async def listed(wanted: pb.Redriven.ValueType) -> list[str]:
        request = pb.ListDeadLettersRequest(redriven=wanted)
        answer = await client.dead_letters.ListDeadLetters(request, metadata=client.auth)
        return [letter.delivery_id for letter in answer.dead_letters]

    assert await listed(pb.REDRIVEN_YES) == [done]
    assert await listed(pb.REDRIVEN_NO) == [waiting]
    assert set(await listed(pb.REDRIVEN_UNSPECIFIED)) == {done, waiting}


_ANY = pb.DeadLetterFilter()
_ID = str(UUID(int=1))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.RedriveRequest(), "delivery_ids"),
        (pb.RedriveRequest(delivery_ids=[_ID] * 2), "delivery_ids"),
        (pb.RedriveRequest(delivery_ids=["x"]), "delivery_ids[0]"),
        (pb.RedriveRequest(delivery_ids=[str(UUID(int=n)) for n in range(1, 1_002)]), "delivery_ids"),
        (pb.RedriveRequest(delivery_ids=[_ID], filter=_ANY), "delivery_ids"),
        (pb.RedriveRequest(delivery_ids=[_ID], max=1), "max"),
        (pb.RedriveRequest(filter=_ANY, max=10_001), "max"),
        (pb.RedriveRequest(filter=_ANY, rate_per_second=10_001), "rate_per_second"),
        (pb.RedriveRequest(filter=_ANY, rate_per_second=float("nan")), "rate_per_second"),
        (pb.RedriveRequest(filter=_ANY, due_at=Timestamp(seconds=4_000_000_000)), "due_at"),
        (pb.RedriveRequest(filter=_ANY, page_token="x"), "page_token"),
        (pb.RedriveRequest(filter=pb.DeadLetterFilter(channel=Channel.ValueType(9))), "filter.channel"),
        (pb.RedriveRequest(filter=pb.DeadLetterFilter(provider="\0")), "filter.provider"),
        (pb.RedriveRequest(filter=pb.DeadLetterFilter(since=Timestamp(seconds=1 << 60))), "filter.since"),
    ],
)
async def test_faulty_redrive_is_refused_by_field(gateway: Gateway, request_: pb.RedriveRequest, field: str) -> None:
    client = await gateway.app()

    refused = await refusal(redriven(client, request_))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused.fields == [field]


async def test_position_survives_its_token() -> None:
    position = Position(datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC), uuid4())

    assert parse_position(position_token(position)) == position
    assert parse_position("") is None
    with pytest.raises(DomainError, match="page_token"):
        parse_position("AAAA")


async def test_numbers_are_those_of_the_contract() -> None:
    outcomes = {one.value: one.name for one in Outcome}
    answers = {one.value: one.name for one in ProviderOutcome}

    assert {n: f"REDRIVE_OUTCOME_{name}" for n, name in outcomes.items()} == {
        value.number: value.name for value in pb.RedriveOutcome.DESCRIPTOR.values if value.number
    }
    assert {n: f"ATTEMPT_OUTCOME_{name}" for n, name in answers.items()} == {
        value.number: value.name for value in pb.AttemptOutcome.DESCRIPTOR.values if value.number
    }
