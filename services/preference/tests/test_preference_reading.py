"""Requests as domain values: what is refused, with which reason, and every fault named."""

import pytest

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import AndroidDevice, ApnsDevice, MailAddress, PhoneNumber
from clarion_preference.domain import QuietHours, Wishes
from clarion_preference.rpc.reading_recipient import read_recipient
from clarion_preference.rpc.reading_wishes import read_wishes
from clarion_preference.wire import address_from_proto, address_to_proto, wishes_from_proto, wishes_to_proto

UNKNOWN = channel_pb2.Channel.ValueType(99)


def refusal(recipient: pb.Recipient) -> DomainError:
    with pytest.raises(DomainError) as refused:
        read_recipient("recipient", recipient)
    return refused.value


def fields(refused: DomainError) -> list[str]:
    return [fault.field for fault in refused.fields]


def faulty_wishes(wishes: pb.Wishes) -> list[str]:
    faults = Faults()
    read_wishes(faults, "wishes", wishes)
    with pytest.raises(DomainError) as refused:
        faults.raise_if_any()
    assert refused.value.reason is ErrorReason.INVALID_FIELD
    return fields(refused.value)


def test_sound_recipient_is_normalised() -> None:
    message = pb.Recipient(recipient_id="anna", locale="KO-kr", time_zone="Asia/Seoul", country="kr")
    message.addresses.add().ios.token = "AB" * 32
    message.addresses.add().android.token = "t"
    message.addresses.add().sms.e164 = "+821012345678"
    message.addresses.add().email.CopyFrom(address_pb2.MailAddress(address="anna@EXAMPLE.org", display_name="안나"))

    update = read_recipient("recipient", message)

    assert (update.locale, update.time_zone, update.country, update.wishes) == ("ko-KR", "Asia/Seoul", "KR", None)
    assert update.addresses == (
        ApnsDevice("ab" * 32),
        AndroidDevice("t"),
        PhoneNumber("+821012345678"),
        MailAddress("anna@example.org", "안나"),
    )


def test_every_faulty_field_is_named() -> None:
    message = pb.Recipient(recipient_id="a\0b", locale="ko_KR", time_zone="Mars/Base", country="XX")
    message.addresses.add().sms.e164 = "+821012345678"
    message.addresses.add().sms.e164 = "12"
    message.addresses.add().web.endpoint = "http://x"
    message.wishes.channels_off.append(UNKNOWN)

    refused = refusal(message)

    assert refused.reason is ErrorReason.INVALID_FIELD
    assert fields(refused) == [
        "recipient.recipient_id",
        "recipient.locale",
        "recipient.time_zone",
        "recipient.country",
        "recipient.addresses[1].sms.e164",
        "recipient.addresses[2].web.endpoint",
        "recipient.addresses[2].web.p256dh",
        "recipient.addresses[2].web.auth",
        "recipient.wishes.channels_off[0]",
    ]


def test_faulty_addresses_alone_are_invalid_addresses() -> None:
    message = pb.Recipient(recipient_id="anna")
    message.addresses.add().sms.e164 = "12"
    message.addresses.add().email.address = "anna"

    refused = refusal(message)

    assert refused.reason is ErrorReason.INVALID_ADDRESS
    assert refused.metadata == {"channel": "sms,email"}
    assert fields(refused) == ["recipient.addresses[0].sms.e164", "recipient.addresses[1].email.address"]


@pytest.mark.parametrize(
    ("address", "field"),
    [
        (address_pb2.Address(ios=address_pb2.ApnsDevice()), "ios.token"),
        (address_pb2.Address(ios=address_pb2.ApnsDevice(token="a" * 64, bundle_id="b" * 256)), "ios.bundle_id"),
        (address_pb2.Address(ios=address_pb2.ApnsDevice(token="a" * 64, bundle_id="b\n")), "ios.bundle_id"),
        (
            address_pb2.Address(
                ios=address_pb2.ApnsDevice(token="a" * 64, environment=address_pb2.ApnsEnvironment.ValueType(9))
            ),
            "ios.environment",
        ),
        (address_pb2.Address(android=address_pb2.AndroidDevice()), "android.token"),
        (
            address_pb2.Address(
                android=address_pb2.AndroidDevice(token="t", service=address_pb2.AndroidPushService.ValueType(9))
            ),
            "android.service",
        ),
        (
            address_pb2.Address(email=address_pb2.MailAddress(address="a@example.org", display_name="a\r\nb")),
            "email.display_name",
        ),
        (
            address_pb2.Address(email=address_pb2.MailAddress(address="a@example.org", display_name="é" * 129)),
            "email.display_name",
        ),
    ],
)
def test_faulty_address_is_refused_by_its_field(address: address_pb2.Address, field: str) -> None:
    refused = refusal(pb.Recipient(recipient_id="anna", addresses=[address]))

    assert refused.reason is ErrorReason.INVALID_ADDRESS
    assert fields(refused) == [f"recipient.addresses[0].{field}"]


def test_address_without_a_kind_is_an_invalid_field() -> None:
    refused = refusal(pb.Recipient(recipient_id="anna", addresses=[address_pb2.Address()]))

    assert refused.reason is ErrorReason.INVALID_FIELD
    assert fields(refused) == ["recipient.addresses[0]"]


@pytest.mark.parametrize("recipient_id", ["", "a" * 129, "é" * 65, "a\0", "a\n"])
def test_faulty_recipient_id_is_refused(recipient_id: str) -> None:
    assert fields(refusal(pb.Recipient(recipient_id=recipient_id))) == ["recipient.recipient_id"]


def test_more_than_32_addresses_are_refused() -> None:
    message = pb.Recipient(recipient_id="anna")
    for number in range(33):
        message.addresses.add().android.token = f"t{number}"

    assert fields(refusal(message)) == ["recipient.addresses"]


def test_refusal_never_repeats_an_address() -> None:
    message = pb.Recipient(recipient_id="anna")
    message.addresses.add().email.address = "canary@@example.org"
    message.addresses.add().sms.e164 = "+4917canary"

    assert "canary" not in str(refusal(message).to_status())


def test_every_faulty_wish_is_named() -> None:
    wishes = pb.Wishes(channels_off=[channel_pb2.CHANNEL_UNSPECIFIED, channel_pb2.CHANNEL_SMS, UNKNOWN])
    wishes.categories.add(category="News")
    wishes.categories.add(category="news", channel=UNKNOWN)
    wishes.quiet_hours.CopyFrom(pb.QuietHours(start_minute=1440, end_minute=1440))

    assert faulty_wishes(wishes) == [
        "wishes.channels_off[0]",
        "wishes.channels_off[2]",
        "wishes.categories[0].category",
        "wishes.categories[1].channel",
        "wishes.quiet_hours.start_minute",
        "wishes.quiet_hours.end_minute",
        "wishes.quiet_hours.end_minute",
    ]


def test_choosing_twice_for_the_same_channel_is_refused() -> None:
    wishes = pb.Wishes()
    wishes.categories.add(category="news", enabled=True)
    wishes.categories.add(category="news", channel=channel_pb2.CHANNEL_SMS, enabled=True)
    wishes.categories.add(category="news", enabled=False)

    assert faulty_wishes(wishes) == ["wishes.categories[2].category"]


def test_more_than_100_choices_are_refused() -> None:
    wishes = pb.Wishes(categories=[pb.CategoryChoice(category=f"c{number}") for number in range(101)])

    assert faulty_wishes(wishes) == ["wishes.categories"]


def test_equal_wishes_have_equal_bytes() -> None:
    one = Wishes(
        channels_off=frozenset({Channel.SMS, Channel.IOS}),
        choices={("b", Channel.SMS): True, ("b", None): False, ("a", None): True},
        quiet_hours=QuietHours(1320, 420),
    )
    other = Wishes(
        channels_off=frozenset({Channel.IOS, Channel.SMS}),
        choices={("a", None): True, ("b", None): False, ("b", Channel.SMS): True},
        quiet_hours=QuietHours(1320, 420),
    )

    assert wishes_to_proto(one).SerializeToString() == wishes_to_proto(other).SerializeToString()
    assert wishes_from_proto(wishes_to_proto(one)) == one


@pytest.mark.parametrize(
    "address",
    [
        ApnsDevice("ab" * 32, "com.example", True),
        ApnsDevice("ab" * 32),
        AndroidDevice("t", True),
        AndroidDevice("t"),
        PhoneNumber("+821012345678"),
        MailAddress("a@example.org", "A"),
    ],
)
def test_address_survives_the_way_to_its_message_and_back(
    address: ApnsDevice | AndroidDevice | PhoneNumber | MailAddress,
) -> None:
    assert address_from_proto(address_to_proto(address)) == address
