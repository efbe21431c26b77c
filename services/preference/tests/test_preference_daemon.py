"""The daemon as its callers see it: a real server with the kit's edge, on a real database."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clarion.internal.preference.v1 import preference_service_pb2 as internal
from clarion.internal.preference.v1 import preference_service_pb2_grpc as internal_grpc
from clarion.notification.v1 import state_pb2
from clarion.preference.v1 import preference_service_pb2 as preference
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.topic.v1 import topic_service_pb2 as topic
from clarion.topic.v1 import topic_service_pb2_grpc as topic_grpc
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit import mesh
from clarion_kit.clock import SystemClock
from clarion_kit.daemon import Daemon
from clarion_kit.sealing import recipient_reference
from clarion_kit.settings import FaultySettings, load
from clarion_kit.telemetry.provider import Telemetry
from clarion_preference.app import build
from clarion_preference.settings import Settings
from clarion_testkit.plugin import App

PHONE = address_pb2.Address(sms=address_pb2.PhoneNumber(e164="+821012345678"))
NO_PHONE = address_pb2.Address(sms=address_pb2.PhoneNumber(e164="12"))


def as_is(message: bytes) -> bytes:
    return message


def details(error: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo, list[str]]:
    """The ErrorInfo of a refused call, and the fields of its BadRequest."""
    packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    return unpacked(status_pb2.Status.FromString(packed))


def unpacked(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, list[str]]:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    for detail in status.details[1:]:
        assert detail.Unpack(bad_request)
    return info, [violation.field for violation in bad_request.field_violations]


async def test_recipient_goes_in_and_comes_out_masked(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    stub = recipient_grpc.RecipientServiceStub(channel)
    given = recipient.Recipient(recipient_id="anna", locale="ko-kr", addresses=[PHONE])
    stored = await stub.UpsertRecipient(recipient.UpsertRecipientRequest(recipient=given), metadata=as_app)

    shown = await stub.GetRecipient(recipient.GetRecipientRequest(recipient_id="anna"), metadata=as_app)

    assert stored.created
    assert shown.recipient == recipient.Recipient(
        recipient_id="anna", locale="ko-KR", time_zone="UTC", wishes=recipient.Wishes()
    )
    [address] = shown.addresses
    assert (address.address_id, address.channel, address.masked, address.status) == (
        stored.address_ids[0],
        channel_pb2.CHANNEL_SMS,
        "+82••••5678",
        recipient.ADDRESS_STATUS_ACTIVE,
    )
    assert address.registered_at.seconds > 0
    assert shown.revision == 1


async def test_bad_items_of_a_batch_fail_alone(channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]) -> None:
    request = recipient.UpsertRecipientsRequest(
        recipients=[
            recipient.Recipient(recipient_id="anna", addresses=[PHONE]),
            recipient.Recipient(recipient_id="bea", addresses=[PHONE, NO_PHONE]),
            recipient.Recipient(recipient_id="anna"),
            recipient.Recipient(recipient_id="cleo", country="XX"),
            recipient.Recipient(recipient_id="dora"),
        ]
    )

    response = await recipient_grpc.RecipientServiceStub(channel).UpsertRecipients(request, metadata=as_app)

    assert [result.WhichOneof("result") for result in response.results] == [
        "stored",
        "error",
        "error",
        "error",
        "stored",
    ]
    refused = [unpacked(result.error) for result in response.results if result.HasField("error")]
    assert [(info.reason, fields) for info, fields in refused] == [
        ("INVALID_ADDRESS", ["recipients[1].addresses[1].sms.e164"]),
        ("INVALID_FIELD", ["recipients[2].recipient_id"]),
        ("INVALID_FIELD", ["recipients[3].country"]),
    ]


@pytest.mark.parametrize("count", [0, 501])
async def test_batch_of_a_wrong_size_is_refused(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], count: int
) -> None:
    request = recipient.UpsertRecipientsRequest(recipients=[recipient.Recipient(recipient_id="a")] * count)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await recipient_grpc.RecipientServiceStub(channel).UpsertRecipients(request, metadata=as_app)

    assert details(refused.value)[1] == ["recipients"]


async def test_address_is_registered_and_removed(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    stub = recipient_grpc.RecipientServiceStub(channel)
    await stub.UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id="anna")), metadata=as_app
    )

    registered = await stub.RegisterAddress(
        recipient.RegisterAddressRequest(recipient_id="anna", address=PHONE), metadata=as_app
    )
    await stub.RemoveAddress(
        recipient.RemoveAddressRequest(recipient_id="anna", address_id=registered.address_id), metadata=as_app
    )

    shown = await stub.GetRecipient(recipient.GetRecipientRequest(recipient_id="anna"), metadata=as_app)
    assert [address.status for address in shown.addresses] == [recipient.ADDRESS_STATUS_REMOVED]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (recipient.RemoveAddressRequest(recipient_id="anna"), "key"),
        (recipient.RemoveAddressRequest(recipient_id="anna", address_id="x"), "address_id"),
        (recipient.RemoveAddressRequest(recipient_id="anna", address=NO_PHONE), "address.sms.e164"),
        (recipient.RemoveAddressRequest(address=PHONE), "recipient_id"),
    ],
)
async def test_faulty_removal_is_refused(
    channel: grpc.aio.Channel,
    as_app: tuple[tuple[str, str], ...],
    request_: recipient.RemoveAddressRequest,
    field: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await recipient_grpc.RecipientServiceStub(channel).RemoveAddress(request_, metadata=as_app)

    assert details(refused.value)[1] == [field]


async def test_wishes_are_set_switched_and_guarded_by_their_revision(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id="anna")), metadata=as_app
    )
    stub = preference_grpc.PreferenceServiceStub(channel)
    no_sms = recipient.Wishes(channels_off=[channel_pb2.CHANNEL_SMS])
    no_news = recipient.CategoryChoice(category="news", enabled=False)

    first = await stub.SetWishes(
        preference.SetWishesRequest(recipient_id="anna", wishes=no_sms, if_revision=1), metadata=as_app
    )
    second = await stub.Switch(preference.SwitchRequest(recipient_id="anna", category="news"), metadata=as_app)
    got = await stub.GetWishes(preference.GetWishesRequest(recipient_id="anna"), metadata=as_app)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.SetWishes(
            preference.SetWishesRequest(recipient_id="anna", wishes=no_sms, if_revision=first.revision),
            metadata=as_app,
        )

    assert got.wishes == recipient.Wishes(channels_off=no_sms.channels_off, categories=[no_news])
    assert got.revision == second.revision == first.revision + 1
    assert refused.value.code() is grpc.StatusCode.ABORTED
    assert details(refused.value)[0].metadata["revision"] == str(second.revision)


async def test_switch_beyond_100_choices_is_refused(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    choices = [recipient.CategoryChoice(category=f"c{number}") for number in range(100)]
    anna = recipient.Recipient(recipient_id="anna", wishes=recipient.Wishes(categories=choices))
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=anna), metadata=as_app
    )
    stub = preference_grpc.PreferenceServiceStub(channel)

    await stub.Switch(preference.SwitchRequest(recipient_id="anna", category="c7", enabled=True), metadata=as_app)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Switch(preference.SwitchRequest(recipient_id="anna", category="news"), metadata=as_app)

    assert details(refused.value)[1] == ["category"]


async def test_resolve_answers_per_recipient_and_channel(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], app: App
) -> None:
    anna = recipient.Recipient(recipient_id="anna", addresses=[PHONE])
    anna.addresses.add().email.address = "anna@example.org"
    anna.wishes.channels_off.append(channel_pb2.CHANNEL_EMAIL)
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=anna), metadata=as_app
    )

    def query(recipient_id: str) -> internal.ResolveRequest.Query:
        return internal.ResolveRequest.Query(
            app_id=app.app_id,
            recipient_ref=recipient_reference(app.app_id, recipient_id),
            category="news",
            channels=[channel_pb2.CHANNEL_EMAIL, channel_pb2.CHANNEL_WEB, channel_pb2.CHANNEL_SMS],
        )

    response = await internal_grpc.PreferenceServiceStub(channel).Resolve(
        internal.ResolveRequest(queries=[query("nobody"), query("anna")])
    )

    unknown, known = response.resolved
    assert unknown == internal.Resolved()
    assert (known.found, known.locale, known.time_zone, known.revision) == (True, "en", "UTC", 1)
    mail, web, sms = known.channels
    assert mail == internal.ChannelAnswer(
        channel=channel_pb2.CHANNEL_EMAIL,
        gate=state_pb2.GATE_WISHES,
        reason=state_pb2.REASON_CHANNEL_OFF,
        rule="channel email: off",
    )
    assert (web.gate, web.reason) == (state_pb2.GATE_ADDRESS, state_pb2.REASON_NO_ADDRESS)
    assert (sms.channel, sms.gate, len(sms.addresses)) == (channel_pb2.CHANNEL_SMS, state_pb2.GATE_UNSPECIFIED, 1)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (internal.ResolveRequest.Query(), ["app_id", "recipient_ref", "category", "channels"]),
        (
            internal.ResolveRequest.Query(
                app_id=1, recipient_ref=bytes(16), category="news", channels=[channel_pb2.Channel.ValueType(9)]
            ),
            ["channels"],
        ),
        (
            internal.ResolveRequest.Query(
                app_id=1,
                recipient_ref=bytes(16),
                category="news",
                channels=[channel_pb2.CHANNEL_SMS, channel_pb2.CHANNEL_SMS],
            ),
            ["channels"],
        ),
    ],
)
async def test_faulty_query_is_refused(
    channel: grpc.aio.Channel, query: internal.ResolveRequest.Query, fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await internal_grpc.PreferenceServiceStub(channel).Resolve(internal.ResolveRequest(queries=[query]))

    assert details(refused.value)[1] == [f"queries[0].{field}" for field in fields]


async def test_dead_address_is_disabled(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], app: App
) -> None:
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id="anna", addresses=[PHONE])),
        metadata=as_app,
    )
    stub = internal_grpc.PreferenceServiceStub(channel)
    query = internal.ResolveRequest.Query(
        app_id=app.app_id,
        recipient_ref=recipient_reference(app.app_id, "anna"),
        category="news",
        channels=[channel_pb2.CHANNEL_SMS],
    )
    before = await stub.Resolve(internal.ResolveRequest(queries=[query]))
    [address] = before.resolved[0].channels[0].addresses
    report = internal.ReportDeadRequest.DeadAddress(
        app_id=app.app_id, address_id=address.address_id, dead_since_ms=4_000_000_000_000
    )

    assert (await stub.ReportDead(internal.ReportDeadRequest(addresses=[report]))).disabled == 1
    after = await stub.Resolve(internal.ResolveRequest(queries=[query]))

    assert after.resolved[0].channels[0].reason == state_pb2.REASON_NO_ADDRESS
    assert after.resolved[0].revision == before.resolved[0].revision + 1


@pytest.mark.parametrize("dead_since_ms", [0, -1, 2**63 - 1])
async def test_faulty_report_is_refused(channel: grpc.aio.Channel, dead_since_ms: int) -> None:
    report = internal.ReportDeadRequest.DeadAddress(app_id=1, address_id=bytes(16), dead_since_ms=dead_since_ms)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await internal_grpc.PreferenceServiceStub(channel).ReportDead(internal.ReportDeadRequest(addresses=[report]))

    assert details(refused.value)[1] == ["addresses[0].dead_since_ms"]


async def test_import_stores_each_by_itself_and_names_those_that_are_at_fault(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    given = [
        *(recipient.Recipient(recipient_id=f"r{number}") for number in range(450)),
        recipient.Recipient(recipient_id="faulty", time_zone="Mars/Base"),
        recipient.Recipient(recipient_id="r1", country="KR"),
    ]

    async def stream() -> AsyncIterator[recipient.ImportRecipientsRequest]:
        for one in given:
            yield recipient.ImportRecipientsRequest(recipient=one)

    stub = recipient_grpc.RecipientServiceStub(channel)
    answer = await stub.ImportRecipients(stream(), metadata=as_app)

    shown = await stub.GetRecipient(recipient.GetRecipientRequest(recipient_id="r1"), metadata=as_app)
    assert (answer.stored, answer.created, answer.refused) == (451, 450, 1)
    assert [fault.position for fault in answer.faults] == [450]
    assert unpacked(answer.faults[0].error)[1] == ["recipient.time_zone"]
    assert shown.recipient.country == "KR"


async def test_person_is_merged_exported_and_erased(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    stub = recipient_grpc.RecipientServiceStub(channel)
    for id_ in ("anna", "guest"):
        await stub.UpsertRecipient(
            recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id=id_)), metadata=as_app
        )
    facts = recipient.AddressFacts(app_version="7", device_name="phone", verified=True)
    registration = recipient.RegisterAddressRequest(recipient_id="guest", address=PHONE, facts=facts)
    await stub.RegisterAddress(registration, metadata=as_app)

    merge = recipient.MergeRecipientsRequest(into_recipient_id="anna", from_recipient_id="guest")
    merged = await stub.MergeRecipients(merge, metadata=as_app)
    exported = await stub.ExportRecipient(recipient.ExportRecipientRequest(recipient_id="guest"), metadata=as_app)
    await stub.EraseRecipient(recipient.EraseRecipientRequest(recipient_id="anna"), metadata=as_app)

    assert merged.revision == 3
    assert exported.recipient.recipient_id == "anna"
    assert list(exported.former_ids) == ["guest"]
    assert [(one.address, one.stored.facts) for one in exported.addresses] == [(PHONE, facts)]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetRecipient(recipient.GetRecipientRequest(recipient_id="guest"), metadata=as_app)
    assert details(refused.value)[0].reason == "RECIPIENT_NOT_FOUND"


async def test_merging_a_recipient_into_itself_is_refused(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    merge = recipient.MergeRecipientsRequest(into_recipient_id="anna", from_recipient_id="anna")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await recipient_grpc.RecipientServiceStub(channel).MergeRecipients(merge, metadata=as_app)

    assert details(refused.value)[1] == ["from_recipient_id"]


async def test_topics_are_subscribed_listed_and_counted(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...]
) -> None:
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id="anna")), metadata=as_app
    )
    stub = topic_grpc.TopicServiceStub(channel)
    for name in ("sports", "music", "news"):
        request = topic.SubscribeRequest(topic=name, recipient_ids=["nobody", "anna"])
        assert await stub.Subscribe(request, metadata=as_app) == topic.SubscribeResponse(added=1, unknown=[0])

    first = await stub.ListTopics(topic.ListTopicsRequest(recipient_id="anna", page_size=2), metadata=as_app)
    again = topic.ListTopicsRequest(recipient_id="anna", page_size=2, page_token=first.next_page_token)
    rest = await stub.ListTopics(again, metadata=as_app)
    counts = [
        (await stub.CountSubscribers(topic.CountSubscribersRequest(topic=name), metadata=as_app)).count
        for name in ("music", "nobody-here")
    ]
    left = await stub.Unsubscribe(topic.UnsubscribeRequest(topic="music", recipient_ids=["anna"]), metadata=as_app)

    assert ([*first.topics, *rest.topics], rest.next_page_token) == (["music", "news", "sports"], "")
    assert (counts, left.removed) == ([1, 0], 1)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (topic.SubscribeRequest(topic="Big News", recipient_ids=["a"]), ["topic"]),
        (topic.SubscribeRequest(recipient_ids=["a"]), ["topic"]),
        (topic.SubscribeRequest(topic="n" * 65, recipient_ids=["a"]), ["topic"]),
        (topic.SubscribeRequest(topic="news"), ["recipient_ids"]),
        (topic.SubscribeRequest(topic="news", recipient_ids=["a"] * 1001), ["recipient_ids"]),
        (
            topic.SubscribeRequest(topic="news", recipient_ids=["a", "", "b" * 129]),
            ["recipient_ids[1]", "recipient_ids[2]"],
        ),
    ],
)
async def test_faulty_subscription_is_refused(
    channel: grpc.aio.Channel,
    as_app: tuple[tuple[str, str], ...],
    request_: topic.SubscribeRequest,
    fields: list[str],
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await topic_grpc.TopicServiceStub(channel).Subscribe(request_, metadata=as_app)

    assert details(refused.value)[1] == fields


async def test_changes_of_wishes_are_listed_page_by_page(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], app: App
) -> None:
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=recipient.Recipient(recipient_id="anna")), metadata=as_app
    )
    stub = preference_grpc.PreferenceServiceStub(channel)
    for enabled in (False, True):
        await stub.Switch(preference.SwitchRequest(recipient_id="anna", enabled=enabled), metadata=as_app)
    await internal_grpc.PreferenceServiceStub(channel).Unsubscribe(
        internal.UnsubscribeRequest(
            app_id=app.app_id,
            recipient_ref=recipient_reference(app.app_id, "anna"),
            category="news",
            channel=channel_pb2.CHANNEL_EMAIL,
        )
    )

    first = await stub.ListWishChanges(
        preference.ListWishChangesRequest(recipient_id="anna", page_size=2), metadata=as_app
    )
    again = preference.ListWishChangesRequest(recipient_id="anna", page_size=2, page_token=first.next_page_token)
    rest = await stub.ListWishChanges(again, metadata=as_app)

    changes = [*first.changes, *rest.changes]
    assert [(change.way, change.who) for change in changes] == [
        (recipient.WISH_CHANGE_WAY_ONE_CLICK, ""),
        (recipient.WISH_CHANGE_WAY_API, "key"),
        (recipient.WISH_CHANGE_WAY_API, "key"),
    ]
    assert (changes[1].before.opted_out, changes[1].after.opted_out) == (True, False)
    assert rest.next_page_token == ""


@pytest.mark.parametrize("token", ["x", "AAAA", "not base64!"])
async def test_foreign_page_token_is_refused(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], token: str
) -> None:
    request = preference.ListWishChangesRequest(recipient_id="anna", page_token=token)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await preference_grpc.PreferenceServiceStub(channel).ListWishChanges(request, metadata=as_app)

    assert details(refused.value)[1] == ["page_token"]


async def test_resolving_tells_quiet_hours_and_the_order_of_channels(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], app: App
) -> None:
    """Quiet from midnight to midnight on mail, and in no hour on the phone."""
    wishes = recipient.Wishes(channel_order=[channel_pb2.CHANNEL_SMS, channel_pb2.CHANNEL_EMAIL])
    for start, end in ((0, 720), (720, 0)):
        wishes.quiet_windows.add(start_minute=start, end_minute=end, channel=channel_pb2.CHANNEL_EMAIL)
    mail = address_pb2.Address(email=address_pb2.MailAddress(address="a@example.com"))
    given = recipient.Recipient(recipient_id="anna", addresses=[PHONE, mail], wishes=wishes)
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=given), metadata=as_app
    )
    query = internal.ResolveRequest.Query(
        app_id=app.app_id,
        recipient_ref=recipient_reference(app.app_id, "anna"),
        category="news",
        channels=[channel_pb2.CHANNEL_SMS, channel_pb2.CHANNEL_EMAIL],
    )

    answer = await internal_grpc.PreferenceServiceStub(channel).Resolve(internal.ResolveRequest(queries=[query]))

    [resolved] = answer.resolved
    assert resolved.quiet_until_ms == 0
    assert resolved.quiet_from_ms > 0
    assert [one.quiet_until_ms > 0 for one in resolved.channels] == [False, True]
    assert list(resolved.channel_order) == list(wishes.channel_order)


async def test_audience_is_listed_with_an_estimate(
    channel: grpc.aio.Channel, as_app: tuple[tuple[str, str], ...], app: App
) -> None:
    attributes = recipient.Attributes(attributes=[recipient.Attribute(key="plan", value="pro", filterable=True)])
    given = recipient.Recipient(recipient_id="anna", attributes=attributes)
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(
        recipient.UpsertRecipientRequest(recipient=given), metadata=as_app
    )
    request = internal.ListAudienceRequest(app_id=app.app_id, page_size=5, as_of_ms=10**14, estimate=True)
    request.audience.filter.add(key="plan", values=["pro", "team"])

    answer = await internal_grpc.PreferenceServiceStub(channel).ListAudience(request)

    assert list(answer.recipient_refs) == [recipient_reference(app.app_id, "anna")]
    assert answer.estimated_total == 1


async def test_every_public_method_of_the_daemon_is_served(channel: grpc.aio.Channel) -> None:
    """gRPC's own UNIMPLEMENTED carries no ErrorInfo; every answer of ours does."""
    paths = [
        method.path
        for method in mesh.public_methods().values()
        # An import answers a recipient that is at fault among its results.
        if method.served_by == "preference" and not method.client_streaming
    ]
    for path in paths:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(path, request_serializer=as_is, response_deserializer=as_is)(b"")
        assert details(refused.value)[0].domain == "clarion"


async def test_unreadable_key_file_is_a_faulty_setting(tmp_path: Path, telemetry: Telemetry) -> None:
    settings = load(
        Settings,
        {
            "CLARION_DATABASE_URL": "postgresql://127.0.0.1:1/none",
            "CLARION_KEK_FILE": str(tmp_path / "none.json"),
            "CLARION_INSECURE": "1",
        },
    )
    daemon = Daemon("preference", settings, telemetry, SystemClock())

    with pytest.raises(FaultySettings, match="CLARION_KEK_FILE"):
        await build(daemon, settings)

    await daemon.close()
