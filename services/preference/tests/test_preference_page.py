"""Preference pages: links that an app makes, what a page shows, and switches that are turned on it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clarion.internal.preference.v1 import preference_service_pb2 as internal
from clarion.internal.preference.v1 import preference_service_pb2_grpc as internal_grpc
from clarion.preference.v1 import preference_service_pb2 as preference
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit.clock import SystemClock
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.keyfiles import load_secret
from clarion_kit.links import PageLink, verify_page
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_preference.adapters.wish_book import PostgresWishBook
from clarion_preference.domain import NO_WISHES, Wishes
from clarion_preference.page_links import MAX_LIFE
from clarion_preference.rpc.reading_page import MAX_SWITCHES, Switch, read_expiry, read_switches, turned
from clarion_preference.rpc.wishes import PreferenceRpc
from clarion_testkit.plugin import App

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REF = bytes(range(16))
PHONE = address_pb2.Address(sms=address_pb2.PhoneNumber(e164="+821012345678"))
MAIL = address_pb2.Address(email=address_pb2.MailAddress(address="anna@example.com"))
Metadata = tuple[tuple[str, str], ...]
Turn = internal.SwitchWishesRequest.Switch


def stamp(moment: datetime) -> preference.CreatePageLinkRequest:
    request = preference.CreatePageLinkRequest(recipient_id="anna")
    request.expire_at.FromDatetime(moment)
    return request


def info(error: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The reason of a refused call, and the fields it names."""
    packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    found, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(packed).details:
        assert detail.Unpack(found) or detail.Unpack(bad_request)
    return found.reason, [violation.field for violation in bad_request.field_violations]


async def store_anna(channel: grpc.aio.Channel, as_app: Metadata) -> None:
    anna = recipient.Recipient(recipient_id="anna", addresses=[PHONE, MAIL])
    request = recipient.UpsertRecipientRequest(recipient=anna)
    await recipient_grpc.RecipientServiceStub(channel).UpsertRecipient(request, metadata=as_app)


def test_link_lasts_thirty_days_unless_it_says_otherwise() -> None:
    assert read_expiry(None, NOW) == NOW + timedelta(days=30)
    for expire_at in (NOW + timedelta(seconds=1), NOW + MAX_LIFE):
        assert read_expiry(stamp(expire_at).expire_at, NOW) == expire_at


@pytest.mark.parametrize(
    ("expire_at", "reason"),
    [
        (NOW, ErrorReason.EXPIRY_IN_PAST),
        (NOW - timedelta(days=1), ErrorReason.EXPIRY_IN_PAST),
        (NOW + MAX_LIFE + timedelta(seconds=1), ErrorReason.INVALID_FIELD),
    ],
)
def test_link_that_is_over_or_lasts_too_long_is_refused(expire_at: datetime, reason: ErrorReason) -> None:
    with pytest.raises(DomainError) as refused:
        read_expiry(stamp(expire_at).expire_at, NOW)

    assert refused.value.reason is reason
    assert [fault.field for fault in refused.value.fields] == ["expire_at"]


def test_moment_that_no_calendar_has_is_refused() -> None:
    request = preference.CreatePageLinkRequest()
    request.expire_at.seconds = 2**62

    with pytest.raises(DomainError) as refused:
        read_expiry(request.expire_at, NOW)

    assert refused.value.reason is ErrorReason.INVALID_FIELD


def test_switches_are_turned_in_their_order() -> None:
    switches = [
        Switch(Channel.SMS, "news", True),
        Switch(None, "news", False),
        Switch(Channel.EMAIL, "", False),
        Switch(None, "", False),
    ]

    assert turned(NO_WISHES, switches) == Wishes(True, frozenset({Channel.EMAIL}), {("news", None): False})


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (internal.SwitchWishesRequest(), ["app_id", "recipient_ref", "switches"]),
        (internal.SwitchWishesRequest(app_id=1, recipient_ref=b"x", switches=[Turn()]), ["recipient_ref"]),
        (
            internal.SwitchWishesRequest(app_id=1, recipient_ref=REF, switches=[Turn()] * (MAX_SWITCHES + 1)),
            ["switches"],
        ),
        (
            internal.SwitchWishesRequest(
                app_id=1,
                recipient_ref=REF,
                switches=[Turn(), Turn(category="No Name"), Turn(channel=channel_pb2.Channel.ValueType(99))],
            ),
            ["switches[1].category", "switches[2].channel"],
        ),
    ],
)
def test_switches_of_a_wrong_form_are_refused(request_: internal.SwitchWishesRequest, fields: list[str]) -> None:
    with pytest.raises(DomainError) as refused:
        read_switches(request_)

    assert [fault.field for fault in refused.value.fields] == fields


async def test_link_names_its_recipient_and_nothing_personal(
    channel: grpc.aio.Channel, as_app: Metadata, app: App, link_key_file: Path
) -> None:
    await store_anna(channel, as_app)
    expire_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)

    answer = await preference_grpc.PreferenceServiceStub(channel).CreatePageLink(stamp(expire_at), metadata=as_app)

    base, _, token = answer.url.rpartition("/")
    assert base == "https://t.example.com/p"
    assert verify_page(load_secret(link_key_file), token, datetime.now(UTC)) == PageLink(
        app.app_id, UUID(bytes=recipient_reference(app.app_id, "anna")), expire_at
    )


async def test_link_to_nobody_is_refused(channel: grpc.aio.Channel, as_app: Metadata) -> None:
    stub = preference_grpc.PreferenceServiceStub(channel)

    with pytest.raises(grpc.aio.AioRpcError) as nobody:
        await stub.CreatePageLink(preference.CreatePageLinkRequest(recipient_id="nobody"), metadata=as_app)
    with pytest.raises(grpc.aio.AioRpcError) as nameless:
        await stub.CreatePageLink(preference.CreatePageLinkRequest(), metadata=as_app)

    assert info(nobody.value)[0] == "RECIPIENT_NOT_FOUND"
    assert info(nameless.value) == ("INVALID_FIELD", ["recipient_id"])


async def test_mesh_without_a_key_signs_no_links(wish_book: PostgresWishBook) -> None:
    rpc = PreferenceRpc(wish_book, None, SystemClock())

    with pytest.raises(DomainError) as refused:
        await rpc.CreatePageLink(preference.CreatePageLinkRequest(recipient_id="anna"), None)  # type: ignore[arg-type]

    assert refused.value.reason is ErrorReason.NOT_BUILT


async def test_page_shows_wishes_and_the_channels_that_somebody_has(
    channel: grpc.aio.Channel, as_app: Metadata, app: App
) -> None:
    await store_anna(channel, as_app)
    request = internal.ShowWishesRequest(app_id=app.app_id, recipient_ref=recipient_reference(app.app_id, "anna"))

    shown = await internal_grpc.PreferenceServiceStub(channel).ShowWishes(request)

    assert list(shown.channels) == [channel_pb2.CHANNEL_SMS, channel_pb2.CHANNEL_EMAIL]
    assert shown.wishes == recipient.Wishes()


async def test_what_is_turned_on_a_page_holds_and_stands_in_the_log(
    channel: grpc.aio.Channel, as_app: Metadata, app: App
) -> None:
    await store_anna(channel, as_app)
    request = internal.SwitchWishesRequest(
        app_id=app.app_id,
        recipient_ref=recipient_reference(app.app_id, "anna"),
        switches=[Turn(category="news"), Turn(channel=channel_pb2.CHANNEL_SMS)],
    )

    turned_once = await internal_grpc.PreferenceServiceStub(channel).SwitchWishes(request)

    stub = preference_grpc.PreferenceServiceStub(channel)
    kept = await stub.GetWishes(preference.GetWishesRequest(recipient_id="anna"), metadata=as_app)
    log = await stub.ListWishChanges(preference.ListWishChangesRequest(recipient_id="anna"), metadata=as_app)
    assert kept.revision == turned_once.revision
    assert [(c.category, c.enabled) for c in kept.wishes.categories] == [("news", False)]
    assert list(kept.wishes.channels_off) == [channel_pb2.CHANNEL_SMS]
    assert (log.changes[0].way, log.changes[0].who) == (recipient.WISH_CHANGE_WAY_PAGE, "")


async def test_page_of_somebody_of_another_app_is_not_found(
    channel: grpc.aio.Channel, as_app: Metadata, app: App, other_app: App
) -> None:
    await store_anna(channel, as_app)
    stub = internal_grpc.PreferenceServiceStub(channel)
    ref = recipient_reference(app.app_id, "anna")

    for call in (
        stub.ShowWishes(internal.ShowWishesRequest(app_id=other_app.app_id, recipient_ref=ref)),
        stub.SwitchWishes(internal.SwitchWishesRequest(app_id=other_app.app_id, recipient_ref=ref, switches=[Turn()])),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert info(refused.value)[0] == "RECIPIENT_NOT_FOUND"
