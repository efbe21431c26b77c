"""The suppression list as apps and the tracker see it: a real server on a real database."""

from datetime import UTC, datetime

import grpc
import pytest

from clarion.internal.preference.v1 import preference_service_pb2 as internal
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion.notification.v1 import state_pb2
from clarion.preference.v1 import preference_service_pb2 as preference
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1.recipient_service_pb2_grpc import RecipientServiceStub
from clarion.suppression.v1 import suppression_pb2
from clarion.suppression.v1 import suppression_service_pb2 as pb
from clarion.suppression.v1.suppression_service_pb2_grpc import SuppressionServiceStub
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit.sealing import recipient_reference
from clarion_preference.rpc.reading_reports import MAX_ITEMS
from clarion_preference.suppressions import SuppressionReason, SuppressionSource
from clarion_testkit.plugin import App

AsApp = tuple[tuple[str, str], ...]

PHONE = address_pb2.Address(sms=address_pb2.PhoneNumber(e164="+821012345678"))
NO_PHONE = address_pb2.Address(sms=address_pb2.PhoneNumber(e164="+12"))
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
ID = bytes(16)


def by_address(app: App, address: address_pb2.Address = PHONE) -> internal.AddressKey:
    return internal.AddressKey(app_id=app.app_id, address=address)


def stop(key: internal.AddressKey, since_ms: int = NOW_MS) -> internal.SuppressRequest.Item:
    return internal.SuppressRequest.Item(
        key=key,
        reason=suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
        source=suppression_pb2.SUPPRESSION_SOURCE_INBOUND_SMS,
        since_ms=since_ms,
    )


async def store(channel: grpc.aio.Channel, as_app: AsApp) -> None:
    anna = recipient.Recipient(recipient_id="anna", addresses=[PHONE])
    await RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=anna), metadata=as_app
    )


async def resolved(channel: grpc.aio.Channel, app: App, *, critical: bool = False) -> internal.ChannelAnswer:
    query = internal.ResolveRequest.Query(
        app_id=app.app_id,
        recipient_ref=recipient_reference(app.app_id, "anna"),
        category="news",
        critical=critical,
        channels=[channel_pb2.CHANNEL_SMS],
    )
    response = await PreferenceServiceStub(channel).Resolve(internal.ResolveRequest(queries=[query]))
    answer: internal.ChannelAnswer = response.resolved[0].channels[0]
    return answer


def test_numbers_are_those_of_the_contract() -> None:
    reasons = {f"SUPPRESSION_REASON_{reason.name}": int(reason) for reason in SuppressionReason}
    sources = {f"SUPPRESSION_SOURCE_{source.name}": int(source) for source in SuppressionSource}

    assert reasons | {"SUPPRESSION_REASON_UNSPECIFIED": 0} == dict(suppression_pb2.SuppressionReason.items())
    assert sources | {"SUPPRESSION_SOURCE_UNSPECIFIED": 0} == dict(suppression_pb2.SuppressionSource.items())


@pytest.mark.parametrize("critical", [False, True])
async def test_suppressed_address_closes_its_gate_for_every_category(
    channel: grpc.aio.Channel, as_app: AsApp, app: App, critical: bool
) -> None:
    await store(channel, as_app)
    assert len((await resolved(channel, app, critical=critical)).addresses) == 1

    await SuppressionServiceStub(channel).Suppress(pb.SuppressRequest(address=PHONE), metadata=as_app)

    answer = await resolved(channel, app, critical=critical)
    assert (answer.gate, answer.reason, answer.rule, len(answer.addresses)) == (
        state_pb2.GATE_SUPPRESSION_LIST,
        state_pb2.REASON_SUPPRESSION_LIST,
        "suppression list: app",
        0,
    )


async def test_app_sees_its_list_whole_and_takes_off_what_it_likes(
    channel: grpc.aio.Channel, as_app: AsApp, app: App
) -> None:
    stub = SuppressionServiceStub(channel)
    await stub.Suppress(pb.SuppressRequest(address=PHONE, note="asked by phone"), metadata=as_app)
    await PreferenceServiceStub(channel).Suppress(internal.SuppressRequest(items=[stop(by_address(app))]))

    first = await stub.ListSuppressed(pb.ListSuppressedRequest(page_size=1), metadata=as_app)
    rest = await stub.ListSuppressed(pb.ListSuppressedRequest(page_token=first.next_page_token), metadata=as_app)
    shown = [*first.suppressed, *rest.suppressed]
    await stub.Unsuppress(pb.UnsuppressRequest(address=PHONE), metadata=as_app)
    left = await stub.ListSuppressed(pb.ListSuppressedRequest(), metadata=as_app)

    assert {(one.address.sms.e164, one.reason, one.source, one.note) for one in shown} == {
        (
            PHONE.sms.e164,
            suppression_pb2.SUPPRESSION_REASON_APP,
            suppression_pb2.SUPPRESSION_SOURCE_APP,
            "asked by phone",
        ),
        (
            PHONE.sms.e164,
            suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
            suppression_pb2.SUPPRESSION_SOURCE_INBOUND_SMS,
            "",
        ),
    }
    assert all(one.since.seconds and one.channel == channel_pb2.CHANNEL_SMS for one in shown)
    assert rest.next_page_token == ""
    assert list(left.suppressed) == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListSuppressedRequest(page_size=501), "page_size"),
        (pb.ListSuppressedRequest(page_token="x"), "page_token"),
        (pb.ListSuppressedRequest(page_token="f" * 34 + "=="), "page_token"),
        (pb.ListSuppressedRequest(channel=9), "channel"),  # type: ignore[arg-type]
        (pb.ListSuppressedRequest(reason=99), "reason"),  # type: ignore[arg-type]
    ],
)
async def test_faulty_listing_is_refused(
    channel: grpc.aio.Channel, as_app: AsApp, request_: pb.ListSuppressedRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=field) as refused:
        await SuppressionServiceStub(channel).ListSuppressed(request_, metadata=as_app)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_address_that_breaks_its_rules_is_not_suppressed(channel: grpc.aio.Channel, as_app: AsApp) -> None:
    stub = SuppressionServiceStub(channel)
    for call in (
        stub.Suppress(pb.SuppressRequest(address=NO_PHONE), metadata=as_app),
        stub.Suppress(pb.SuppressRequest(address=PHONE, note="x" * 257), metadata=as_app),
        stub.Unsuppress(pb.UnsuppressRequest(), metadata=as_app),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_batch_keeps_what_can_be_kept_and_names_the_rest(channel: grpc.aio.Channel, app: App) -> None:
    unknown = internal.AddressKey(app_id=app.app_id, address_id=ID)
    request = internal.SuppressRequest(items=[stop(unknown), stop(by_address(app, NO_PHONE)), stop(by_address(app))])

    first = await PreferenceServiceStub(channel).Suppress(request)
    again = await PreferenceServiceStub(channel).Suppress(request)

    assert (first.added, list(first.refused)) == (1, [0, 1])
    assert (again.added, list(again.refused)) == (0, [0, 1])


async def test_stop_is_lifted_and_counted_once(channel: grpc.aio.Channel, app: App) -> None:
    stub = PreferenceServiceStub(channel)
    await stub.Suppress(internal.SuppressRequest(items=[stop(by_address(app), NOW_MS - 1000)]))
    request = internal.LiftStopsRequest(items=[internal.LiftStopsRequest.Item(key=by_address(app), at_ms=NOW_MS)])

    assert (await stub.LiftStops(request)).lifted == 1
    assert (await stub.LiftStops(request)).lifted == 0


async def test_unsubscribing_switches_one_category_of_one_channel_off(
    channel: grpc.aio.Channel, as_app: AsApp, app: App
) -> None:
    await store(channel, as_app)
    request = internal.UnsubscribeRequest(
        app_id=app.app_id,
        recipient_ref=recipient_reference(app.app_id, "anna"),
        category="news",
        channel=channel_pb2.CHANNEL_EMAIL,
    )

    revisions = [(await PreferenceServiceStub(channel).Unsubscribe(request)).revision for _ in range(2)]

    stored = await preference_grpc.PreferenceServiceStub(channel).GetWishes(
        preference.GetWishesRequest(recipient_id="anna"), metadata=as_app
    )
    [choice] = stored.wishes.categories
    assert (choice.category, choice.channel, choice.enabled) == ("news", channel_pb2.CHANNEL_EMAIL, False)
    assert revisions == [2, 2]


async def test_nobody_unknown_unsubscribes(channel: grpc.aio.Channel, app: App) -> None:
    request = internal.UnsubscribeRequest(
        app_id=app.app_id, recipient_ref=ID, category="news", channel=channel_pb2.CHANNEL_EMAIL
    )

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await PreferenceServiceStub(channel).Unsubscribe(request)

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("call", "request_", "fields"),
    [
        ("Suppress", internal.SuppressRequest(), ["items"]),
        ("Suppress", internal.SuppressRequest(items=[stop(internal.AddressKey())] * (MAX_ITEMS + 1)), ["items"]),
        (
            "Suppress",
            internal.SuppressRequest(items=[internal.SuppressRequest.Item()]),
            ["items[0].key.app_id", "items[0].key.key", "items[0].since_ms", "items[0].reason", "items[0].source"],
        ),
        (
            "LiftStops",
            internal.LiftStopsRequest(
                items=[internal.LiftStopsRequest.Item(key=internal.AddressKey(app_id=1, address_id=b"x"))]
            ),
            ["items[0].key.address_id", "items[0].at_ms"],
        ),
        (
            "ReportReach",
            internal.ReportReachRequest(items=[internal.ReportReachRequest.Item(at_ms=-1)]),
            ["items[0].app_id", "items[0].address_id", "items[0].delivery_id", "items[0].at_ms"],
        ),
        ("Unsubscribe", internal.UnsubscribeRequest(), ["app_id", "recipient_ref", "category", "channel"]),
    ],
)
async def test_faulty_report_is_refused_with_every_fault(
    channel: grpc.aio.Channel, call: str, request_: object, fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(PreferenceServiceStub(channel), call)(request_)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(f"{field}: " in (refused.value.details() or "") for field in fields)
