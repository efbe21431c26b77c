"""What a client may get wrong: the error is typed, names the fault, and nothing is stored."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.deadletter.v1 import dead_letter_service_pb2 as deadletter
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1.state_pb2 import Reason
from clarion.types.v1.channel_pb2 import Channel, Priority
from clarion_kit import mesh

from .gateway_samples import Client, Gateway, notification, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN_CHANNEL = cast("Channel.ValueType", 100_000)


def stamp(ahead: timedelta) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(datetime.now(UTC) + ahead)
    return made


NO_TIME = Timestamp(seconds=10**15)
FILE = {"content_type": "application/pdf", "content": b"%PDF"}
MAIL = {"mail": {"subject": "s", "text": "t"}}


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 129}, "event_id"),
        ({"event_id": "é" * 65}, "event_id"),
        ({"event_id": "a\0b"}, "event_id"),
        ({"event_id": "a\nb"}, "event_id"),
        ({"recipient_ids": []}, "recipient_ids"),
        ({"recipient_ids": [f"r{number}" for number in range(101)]}, "recipient_ids"),
        ({"recipient_ids": ["anna", "bea", "anna"]}, "recipient_ids"),
        ({"recipient_ids": ["anna", ""]}, "recipient_ids[1]"),
        ({"recipient_ids": ["anna\x7f"]}, "recipient_ids[0]"),
        ({"category": ""}, "category"),
        ({"category": "No Name"}, "category"),
        ({"priority": cast("Priority.ValueType", 4)}, "priority"),
        ({"collapse_key": "x" * 65}, "collapse_key"),
        ({"digest_key": "d"}, "digest_key"),
        ({"content": None}, "body"),
        ({"content": {}}, "content.push"),
        ({"content": {"push": {}}}, "content.push.title"),
        ({"content": {"push": {"title": "x" * 513}}}, "content.push.title"),
        ({"content": {"push": {"title": "t", "body": "\0"}}}, "content.push.body"),
        ({"content": {"push": {"title": "t", "image_url": "http://a/b.png"}}}, "content.push.image_url"),
        ({"content": {"push": {"title": "t", "data": {"from": "me"}}}}, "content.push.data"),
        ({"content": {"sms": {}}}, "content.sms.text"),
        ({"content": {"sms": {"text": "x" * 1_601}}}, "content.sms.text"),
        ({"content": {"mail": {"subject": "a\r\nBcc: b", "text": "t"}}}, "content.mail.subject"),
        ({"content": {"mail": {"subject": "s"}}}, "content.mail.text"),
        ({"content": {"mail": {"subject": "s", "html": "<p>alone</p>"}}}, "content.mail.text"),
        ({"content": {"mail": {"subject": "s", "text": "t", "html": '<img src="cid:a">'}}}, "content.mail.html"),
        ({"content": {"push": {"title": "t", "ios": {"push_type": "background"}}}}, "content.push.ios.push_type"),
        ({"content": {"push": {"title": "t", "ios": {"push_type": "pigeon"}}}}, "content.push.ios.push_type"),
        ({"content": {"push": {"title": "t", "ios": {"aps": {"alert": "x"}}}}}, "content.push.ios.aps.alert"),
        ({"content": {"push": {"title": "t", "web": {"renotify": True}}}}, "content.push.web.renotify"),
        ({"content": {"push": {"title": "t", "actions": [{"id": "a"}]}}}, "content.push.actions[0].title"),
        ({"content": {"push": {"title": "t", "link": "javascript:x"}}}, "content.push.link"),
        ({"attachments": [{"filename": "a/b", **FILE}], "content": MAIL}, "attachments[0].filename"),
        ({"attachments": [{"filename": "a", **FILE}] * 11, "content": MAIL}, "attachments"),
        ({"attachments": [{"filename": "a", **FILE}], "content": {"sms": {"text": "t"}}}, "attachments"),
        (
            {
                "attachments": [{"filename": "a", **FILE}],
                "content": MAIL,
                "recipient_ids": [f"r{number}" for number in range(11)],
            },
            "attachments",
        ),
        ({"template": {"name": ""}}, "template.name"),
        ({"template": {"name": "t", "data": {"a": "x" * 65_536}}}, "template.data"),
        ({"template": {"name": "t", "data": {"a": [{"b": "x\0"}]}}}, "template.data"),
        ({"template": {"name": "t", "locale": "not a locale"}}, "template.locale"),
        ({"template": {"name": "t", "locale": "e"}}, "template.locale"),
        ({"channel_policy": {"mode": pb.CHANNEL_MODE_ESCALATE}, "digest_key": "d"}, "channel_policy.mode"),
        ({"channel_policy": {"escalate_after": Duration(nanos=1)}}, "channel_policy.escalate_after"),
        ({"channel_policy": {"escalate_after": Duration(seconds=8 * 86_400)}}, "channel_policy.escalate_after"),
        ({"channel_policy": {"until": cast("pb.EscalateUntil.ValueType", 9)}}, "channel_policy.until"),
        ({"channel_policy": {"mode": cast("pb.ChannelMode.ValueType", 9)}}, "channel_policy.mode"),
        ({"channel_policy": {"channels": [UNKNOWN_CHANNEL]}}, "channel_policy.channels"),
        ({"channel_policy": {"channels": [Channel.CHANNEL_IOS] * 2}}, "channel_policy.channels"),
        ({"deliver_at": stamp(timedelta(days=367))}, "deliver_at"),
        ({"deliver_at": NO_TIME}, "deliver_at"),
        ({"expire_at": Timestamp(seconds=1, nanos=-1)}, "expire_at"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_faulty_field_is_named(gateway: Gateway, fields: dict[str, object], faulty: str) -> None:
    client = await gateway.app()

    refused = await refusal(client.send(notification(**fields)))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused.fields == [f"notification.{faulty}"]
    assert await client.stored() == 0


async def test_every_fault_is_named_at_once(gateway: Gateway) -> None:
    client = await gateway.app()

    refused = await refusal(client.send(pb.Notification(digest_key="d" * 65)))

    assert refused.fields == [
        f"notification.{name}" for name in ("event_id", "recipient_ids", "category", "digest_key", "body")
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"expire_at": stamp(timedelta(seconds=-1))},
        {"expire_at": stamp(timedelta(hours=1)), "deliver_at": stamp(timedelta(hours=2))},
    ],
)
async def test_deadline_in_the_past_or_before_the_start_is_refused(gateway: Gateway, fields: dict[str, object]) -> None:
    client = await gateway.app()

    refused = await refusal(client.send(notification(**fields)))

    assert (refused.reason, refused.fields) == ("EXPIRY_IN_PAST", ["notification.expire_at"])
    assert await client.stored() == 0


async def test_unknown_category_is_named(gateway: Gateway) -> None:
    client = await gateway.app()

    refused = await refusal(client.send(notification(category="news")))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CATEGORY_NOT_FOUND")
    assert refused.metadata == {"category": "news"}
    assert await client.stored() == 0


async def test_channel_beyond_the_token_is_refused(gateway: Gateway) -> None:
    client = await gateway.app("send:sms")

    refused = await refusal(client.send(notification(channel_policy={"channels": [Channel.CHANNEL_IOS]})))

    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
    assert refused.metadata == {"scope": "send:ios"}
    assert await client.stored() == 0


async def test_test_send_needs_the_scope_of_templates_beside_those_of_sending(gateway: Gateway) -> None:
    client = await gateway.app("send:*", "status:read")
    item = notification(test=True)

    refused = await refusal(client.send(item))
    dry = pb.ExplainRequest(notification=item)
    unexplained = await refusal(client.notifications.Explain(dry, metadata=client.auth))

    assert (refused.code, refused.metadata) == (grpc.StatusCode.PERMISSION_DENIED, {"scope": "template:write"})
    assert unexplained.metadata == {"scope": "template:write"}
    assert await client.stored() == 0


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.get("no-uuid"), "notification_id"),
        (lambda c: c.get(""), "notification_id"),
        (lambda c: c.notifications.Get(pb.GetRequest(), metadata=c.auth), "key"),
        (lambda c: c.notifications.Get(pb.GetRequest(event_id="a\0"), metadata=c.auth), "event_id"),
        (lambda c: c.notifications.Get(pb.GetRequest(event_id="x" * 2_000), metadata=c.auth), "event_id"),
        (lambda c: c.notifications.Cancel(pb.CancelRequest(notification_id="{}"), metadata=c.auth), "notification_id"),
        (lambda c: c.notifications.List(pb.ListRequest(page_size=501), metadata=c.auth), "page_size"),
        (lambda c: c.notifications.List(pb.ListRequest(page_token="!"), metadata=c.auth), "page_token"),
        (lambda c: c.notifications.List(pb.ListRequest(page_token="AAAA"), metadata=c.auth), "page_token"),
        (lambda c: c.notifications.List(pb.ListRequest(page_token="é"), metadata=c.auth), "page_token"),
        (lambda c: c.notifications.List(pb.ListRequest(category="a b"), metadata=c.auth), "category"),
        (lambda c: c.notifications.List(pb.ListRequest(since=NO_TIME), metadata=c.auth), "since"),
        (lambda c: c.notifications.List(pb.ListRequest(until=NO_TIME), metadata=c.auth), "until"),
        (
            lambda c: c.dead_letters.ListDeadLetters(
                deadletter.ListDeadLettersRequest(page_token="AAAA"), metadata=c.auth
            ),
            "page_token",
        ),
        (
            lambda c: c.dead_letters.ListDeadLetters(
                deadletter.ListDeadLettersRequest(channel=UNKNOWN_CHANNEL), metadata=c.auth
            ),
            "channel",
        ),
        (
            lambda c: c.dead_letters.ListDeadLetters(
                deadletter.ListDeadLettersRequest(reason=cast("Reason.ValueType", 99)), metadata=c.auth
            ),
            "reason",
        ),
    ],
)
async def test_faulty_question_is_refused(gateway: Gateway, call: Callable[[Client], object], field: str) -> None:
    client = await gateway.app()

    refused = await refusal(call(client))  # type: ignore[arg-type]

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", [field])


async def test_unknown_category_of_a_list_is_named(gateway: Gateway) -> None:
    client = await gateway.app()

    refused = await refusal(client.notifications.List(pb.ListRequest(category="news"), metadata=client.auth))

    assert refused.reason == "CATEGORY_NOT_FOUND"


def as_is(message: bytes) -> bytes:
    return message


def of_size(size: int) -> bytes:
    """A message of that many bytes, all of them in a field that no message has."""
    header = b"\xfa\x7f"  # field 2047, length-delimited
    for length_bytes in range(1, 5):
        length = size - len(header) - length_bytes
        encoded = bytes(
            (length >> 7 * place & 127) | (128 if place < length_bytes - 1 else 0) for place in range(length_bytes)
        )
        if length < 1 << 7 * length_bytes:
            return header + encoded + bytes(length)
    raise AssertionError("too large for this")


@pytest.mark.parametrize("path", sorted(mesh.public_methods()))
async def test_request_over_the_limit_of_its_method_is_refused(gateway: Gateway, path: str) -> None:
    """Of every public method, whoever serves it: one byte over `max_request_bytes`."""
    client = await gateway.app()
    limit = mesh.public_methods()[path].max_request_bytes
    call = gateway.channel.unary_stream(path, as_is, as_is)(of_size(limit + 1), metadata=client.auth, timeout=10)

    refused = await refusal(call.read())

    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
    assert refused.metadata == {"limit_bytes": str(limit)}


async def test_message_beyond_what_the_transport_lets_through_is_refused_unread(gateway: Gateway) -> None:
    client = await gateway.app()
    call = gateway.channel.unary_unary("/clarion.notification.v1.NotificationService/SendBatch", as_is, as_is)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(bytes(5 << 20), metadata=client.auth)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_every_public_method_is_handled_or_forwarded(gateway: Gateway) -> None:
    """gRPC's own UNIMPLEMENTED has no ErrorInfo; every refusal of the mesh has one."""
    nobody = gateway.anonymous()
    for path, method in mesh.public_methods().items():
        call = gateway.channel.unary_stream(path, as_is, as_is)(b"", metadata=nobody.auth, timeout=10)
        if method.required_scope != "none":
            assert (await refusal(call.read())).reason == "UNAUTHENTICATED", path


async def test_every_scope_is_asked_for(gateway: Gateway) -> None:
    """A token that may do one thing may do nothing else."""
    admin, sender = await gateway.app("admin"), await gateway.app("send:*")
    for path, method in mesh.public_methods().items():
        if method.required_scope in ("none", "any"):
            continue
        client = sender if method.required_scope == "admin" else admin
        call = gateway.channel.unary_stream(path, as_is, as_is)(b"", metadata=client.auth, timeout=10)
        refused = await refusal(call.read())
        assert (refused.reason, refused.metadata) == ("SCOPE_MISSING", {"scope": method.required_scope}), path
