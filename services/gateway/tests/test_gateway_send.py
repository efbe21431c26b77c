"""Accepting: one by one, in batches and in streams, and what an event id promises."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.internal.template.v1.template_service_pb2 import Description
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.template.v1.variable_pb2 import Variable, VariableType
from clarion.types.v1.channel_pb2 import Channel
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.sealing import KeyWrapper
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing

from .gateway_samples import Client, Gateway, Peers, answer, notification, refusal, running, unpacked

pytestmark = pytest.mark.asyncio(loop_scope="session")


def stamp(ahead: timedelta) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(datetime.now(UTC) + ahead)
    return made


async def payload_of(client: Client, sent: pb.SendResponse) -> pb.Notification:
    """What was stored, opened."""
    row = await client.gateway.pool.fetchrow(
        "SELECT n.event_id, b.payload FROM ledger.notification n JOIN ledger.notification_body b USING (id) WHERE id = $1",
        sent.notification_id,
    )
    assert row is not None
    sealer = await KeyRing(client.gateway.pool, client.gateway.kek).sealer(client.app_id)
    return pb.Notification.FromString(sealer.open("notification", row["event_id"].encode(), "payload", row["payload"]))


async def test_sent_notification_is_durable_and_sealed_when_the_answer_comes(gateway: Gateway) -> None:
    client = await gateway.app()
    item = notification(recipient_ids=["anna", "bea"])

    sent = await client.send(item)

    assert not sent.duplicate
    assert UUID(sent.notification_id).version == 7
    stored = await payload_of(client, sent)
    assert (stored.event_id, list(stored.recipient_ids)) == ("", ["anna", "bea"])
    row = await gateway.pool.fetchrow(
        "SELECT recipient_count, state, event_id FROM ledger.notification WHERE id = $1", sent.notification_id
    )
    assert row is not None
    assert tuple(row) == (2, 2, item.event_id)


async def test_second_send_with_same_event_id_returns_first_answer(gateway: Gateway) -> None:
    client = await gateway.app()
    item = notification()

    first = await client.send(item)
    second = await client.send(item)

    assert second == pb.SendResponse(notification_id=first.notification_id, duplicate=True)


async def test_event_id_with_another_payload_is_refused_and_names_the_first(gateway: Gateway) -> None:
    client = await gateway.app()
    first = await client.send(notification(event_id="e"))
    before = await client.stored()

    refused = await refusal(client.send(notification(event_id="e", recipient_ids=["bea"])))

    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EVENT_ID_REUSED")
    assert refused.metadata == {"event_id": "e", "notification_id": first.notification_id}
    assert await client.stored() == before


async def test_event_ids_of_two_apps_do_not_meet(gateway: Gateway) -> None:
    one, other = await gateway.app(), await gateway.app()

    first = await one.send(notification(event_id="e"))
    second = await other.send(notification(event_id="e", recipient_ids=["bea"]))

    assert first.notification_id != second.notification_id


async def test_payload_hash_leaves_out_event_id_and_defaults(gateway: Gateway) -> None:
    """What the edge adds (channels of the token) is no part of what the client sent."""
    client = await gateway.app("send:sms", "send:email")
    sms = {"sms": {"text": "Hi"}}
    named = [Channel.CHANNEL_SMS, Channel.CHANNEL_EMAIL]
    first = await client.send(notification(event_id="a", content=sms))
    second = await client.send(notification(event_id="b", content=sms))
    other = await client.send(notification(event_id="c", content=sms, channel_policy={"channels": named}))

    rows = await gateway.pool.fetch(
        "SELECT event_id, payload_hash FROM ledger.event_key WHERE app_id = $1", client.app_id
    )

    hashes = {row["event_id"]: row["payload_hash"] for row in rows}
    assert hashes["a"] == hashes["b"] != hashes["c"]
    payloads = [await payload_of(client, sent) for sent in (first, second, other)]
    assert all(set(payload.channel_policy.channels) == set(named) for payload in payloads)


async def test_payload_hash_does_not_depend_on_the_order_of_map_entries(gateway: Gateway) -> None:
    client = await gateway.app()
    keys = [f"key{number}" for number in range(20)]

    await client.send(notification(event_id="e", content={"push": {"title": "t", "data": dict.fromkeys(keys, "v")}}))
    again = await client.send(
        notification(event_id="e", content={"push": {"title": "t", "data": dict.fromkeys(reversed(keys), "v")}})
    )

    assert again.duplicate


async def test_channels_named_by_the_client_are_kept_as_they_are(gateway: Gateway) -> None:
    client = await gateway.app("send:sms", "send:ios")

    sent = await client.send(notification(channel_policy={"channels": [Channel.CHANNEL_IOS]}))

    assert list((await payload_of(client, sent)).channel_policy.channels) == [Channel.CHANNEL_IOS]


async def test_batch_answers_in_order_and_each_bad_item_fails_alone(gateway: Gateway) -> None:
    client = await gateway.app()
    known = await client.send(notification(event_id="known"))
    items = [
        notification(event_id="one"),
        notification(event_id="two", category="unheard-of"),
        notification(event_id="known", recipient_ids=["bea"]),
        notification(event_id="four"),
        notification(event_id="four"),
        notification(event_id="four", recipient_ids=["bea"]),
        notification(event_id=""),
        notification(event_id="nul", recipient_ids=["a\0"]),
        notification(event_id="nine"),
    ]

    results = await client.batch(items)

    kinds = [result.WhichOneof("result") for result in results]
    assert kinds == ["accepted", "error", "error", "accepted", "accepted", "error", "error", "error", "accepted"]
    reasons = [unpacked(result.error).reason for result in results if result.HasField("error")]
    assert reasons == [
        "CATEGORY_NOT_FOUND",
        "EVENT_ID_REUSED",
        "EVENT_ID_REUSED",
        "INVALID_FIELD",
        "INVALID_FIELD",
    ]
    assert unpacked(results[2].error).metadata["notification_id"] == known.notification_id
    assert (results[3].accepted.duplicate, results[4].accepted.duplicate) == (False, True)
    assert results[3].accepted.notification_id == results[4].accepted.notification_id
    rows = await gateway.pool.fetch("SELECT event_id FROM ledger.notification WHERE app_id = $1", client.app_id)
    assert {row["event_id"] for row in rows} == {"known", "one", "four", "nine"}


async def test_batch_of_a_thousand_is_taken(gateway: Gateway) -> None:
    client = await gateway.app()

    results = await client.batch([notification() for _ in range(1_000)])

    assert len({result.accepted.notification_id for result in results}) == 1_000


@pytest.mark.parametrize("count", [0, 1_001])
async def test_batch_of_a_wrong_size_is_refused_as_a_whole(gateway: Gateway, count: int) -> None:
    client = await gateway.app()

    refused = await refusal(client.batch([notification()] * count))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ["notifications"])
    assert await client.stored() == 0


async def test_two_gateways_agree_on_the_same_event_ids(
    gateway: Gateway, gateway_env: dict[str, str], ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys
) -> None:
    client = await gateway.app()
    async with running(gateway_env, ledger, kek, token_keys) as second:
        other = Client(second, client.app_id, client.app, "")
        other.auth = client.auth
        items = [notification() for _ in range(60)]

        ours, theirs = await asyncio.gather(
            asyncio.gather(*(client.send(item) for item in items)),
            asyncio.gather(*(other.send(item) for item in reversed(items))),
        )

    pairs = list(zip(ours, reversed(theirs), strict=True))
    assert all(one.notification_id == two.notification_id for one, two in pairs)
    assert all(one.duplicate != two.duplicate for one, two in pairs)
    assert (
        await gateway.pool.fetchval("SELECT count(*) FROM ledger.notification WHERE app_id = $1", client.app_id) == 60
    )


# ---------------------------------------------------------------- streams


async def test_stream_answers_every_item_in_order_and_ends_when_the_client_does(gateway: Gateway) -> None:
    client = await gateway.app()
    items = [
        notification(event_id=f"e{number}", category="news" if number % 7 == 3 else "transactional")
        for number in range(250)
    ]

    async def requests() -> AsyncIterator[pb.SendStreamRequest]:
        for item in items:
            yield pb.SendStreamRequest(notification=item)

    call = client.notifications.SendStream(requests(), metadata=client.auth, timeout=20)
    results = [response.result async for response in call]

    rows = await gateway.pool.fetch("SELECT id, event_id FROM ledger.notification WHERE app_id = $1", client.app_id)
    ids = {row["event_id"]: str(row["id"]) for row in rows}
    assert len(results) == 250
    for item, result in zip(items, results, strict=True):
        if item.category == "news":
            assert unpacked(result.error).reason == "CATEGORY_NOT_FOUND"
        else:
            assert result.accepted.notification_id == ids[item.event_id]
    assert await call.code() is grpc.StatusCode.OK


async def test_stream_without_items_ends_well(gateway: Gateway) -> None:
    call = (await gateway.app()).stream()

    await call.done_writing()

    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_stream_answers_while_it_stays_open(gateway: Gateway) -> None:
    call = (await gateway.app()).stream()
    for _ in range(3):
        await call.write(pb.SendStreamRequest(notification=notification()))
        assert (await answer(call)).accepted.notification_id
    call.cancel()


async def test_stream_cancelled_midway_keeps_what_was_answered(gateway: Gateway) -> None:
    client = await gateway.app()
    call = client.stream()
    await call.write(pb.SendStreamRequest(notification=notification(event_id="first")))
    answered = await answer(call)

    call.cancel()

    assert (await client.get(answered.accepted.notification_id)).notification.event_id == "first"
    assert (await client.send(notification())).notification_id


async def test_oversize_item_ends_its_stream_after_the_answers_before_it(gateway: Gateway) -> None:
    call = (await gateway.app()).stream()
    await call.write(pb.SendStreamRequest(notification=notification()))
    first = await answer(call)
    await call.write(pb.SendStreamRequest(notification=notification(collapse_key="x" * (1 << 20))))

    refused = await refusal(call.read())

    assert first.accepted.notification_id
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")


# ---------------------------------------------------------------- templates at the edge


async def test_template_is_checked_before_anything_is_stored(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app()
    name = f"welcome-{client.app_id}"
    peers.describing.templates[name] = Description(
        published_version=2, latest_version=3, required_variables=["name", "order"]
    )
    items = [
        notification(template={"name": name, "data": {"name": "Anna", "order": 7}}),
        notification(template={"name": name, "data": {"name": "Anna"}}),
        notification(template={"name": "unheard-of"}),
        notification(template={"name": name, "version": 4}),
        notification(template={"name": name, "version": 3}),
        notification(template={"name": "Bad Name"}),
    ]

    results = await client.batch(items)

    refused = {place: unpacked(result.error) for place, result in enumerate(results) if result.HasField("error")}
    assert {place: one.reason for place, one in refused.items()} == {
        1: "MISSING_VARIABLE",
        2: "TEMPLATE_NOT_FOUND",
        3: "TEMPLATE_NOT_FOUND",
        5: "INVALID_FIELD",
    }
    assert refused[1].metadata == {"template": name, "variables": "order"}
    assert refused[2].metadata == {"template": "unheard-of"}
    assert await gateway.pool.fetchval("SELECT count(*) FROM ledger.event_key WHERE app_id = $1", client.app_id) == 2


async def test_template_data_of_the_wrong_type_is_refused_with_its_path(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app()
    name = f"typed-{client.app_id}"
    price = Variable(name="price", type=VariableType.VARIABLE_TYPE_NUMBER)
    order = Variable(type=VariableType.VARIABLE_TYPE_OBJECT, fields=[price])
    peers.describing.templates[name] = Description(
        published_version=1,
        latest_version=1,
        variables=[Variable(name="orders", type=VariableType.VARIABLE_TYPE_LIST, items=order)],
    )
    data = {"orders": [{"price": 1}, {"price": "free"}]}

    refused = await refusal(client.send(notification(template={"name": name, "data": data})))

    assert refused.reason == "INVALID_FIELD"
    assert list(refused.fields) == ["notification.template.data.orders[1].price"]


async def test_template_stored_after_a_refusal_serves_at_once(gateway: Gateway, peers: Peers) -> None:
    client = await gateway.app()
    name = f"late-{client.app_id}"
    assert (await refusal(client.send(notification(template={"name": name})))).reason == "TEMPLATE_NOT_FOUND"

    peers.describing.templates[name] = Description(published_version=1, latest_version=1)

    assert (await client.send(notification(template={"name": name}))).notification_id


@pytest.mark.parametrize("fault", ["away", "defect"])
async def test_template_service_that_fails_keeps_nothing_from_being_accepted(
    gateway: Gateway, peers: Peers, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    client = await gateway.app()
    monkeypatch.setattr(peers.describing, fault, True)

    assert (await client.send(notification(template={"name": f"unseen-{client.app_id}"}))).notification_id
