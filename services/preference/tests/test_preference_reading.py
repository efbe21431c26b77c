"""Requests as domain values: what is refused, with which reason, and every fault named."""

from pathlib import Path

import pytest

from clarion.internal.preference.v1 import preference_service_pb2 as internal
from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.settings import FaultySettings, load
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import AndroidDevice, ApnsDevice, MailAddress, PhoneNumber
from clarion_preference.domain import Wishes
from clarion_preference.quiet import QuietWindow
from clarion_preference.rpc.reading_audience import read_page
from clarion_preference.rpc.reading_recipient import read_recipient
from clarion_preference.rpc.reading_wishes import read_wishes
from clarion_preference.settings import Settings
from clarion_preference.wire import address_from_proto, address_to_proto, wishes_from_proto, wishes_to_proto

UNKNOWN = channel_pb2.Channel.ValueType(99)
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"


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


def browser(application_server_key: str) -> address_pb2.WebSubscription:
    """The receiver of RFC 8291, appendix A."""
    return address_pb2.WebSubscription(
        endpoint="https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
        p256dh=P256DH,
        auth="BTBZMqHH6r4Tts7J_aSIgg",
        application_server_key=application_server_key,
    )


def test_key_that_a_page_subscribed_with_is_kept() -> None:
    address = address_pb2.Address(web=browser(P256DH + "="))

    kept = read_recipient("recipient", pb.Recipient(recipient_id="anna", addresses=[address])).addresses[0]

    assert address_to_proto(kept) == address_pb2.Address(web=browser(P256DH))
    assert address_from_proto(address_to_proto(kept)) == kept


def test_push_endpoint_inside_is_stored_for_practice_alone_and_may_always_be_named() -> None:
    inside = browser(P256DH)
    inside.endpoint = "https://169.254.169.254/push/1"
    message = pb.Recipient(recipient_id="anna", addresses=[address_pb2.Address(web=inside)])

    assert fields(refusal(message)) == ["recipient.addresses[0].web.endpoint"]
    assert read_recipient("recipient", message, private_hosts=True).addresses


@pytest.mark.parametrize(("profile", "taken"), [("development", True), ("production", False)])
def test_private_hosts_are_for_practice(tmp_path: Path, profile: str, taken: bool) -> None:
    for name in ("ca.crt", "tls.crt", "tls.key", "kek"):
        (tmp_path / name).touch()
    env = {
        "CLARION_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "CLARION_KEK_FILE": str(tmp_path / "kek"),
        "CLARION_TLS_DIR": str(tmp_path),
        "CLARION_PROFILE": profile,
        "CLARION_PUSH_PRIVATE_HOSTS": "1",
    }

    if taken:
        assert load(Settings, env).push_private_hosts
    else:
        with pytest.raises(FaultySettings, match="CLARION_PUSH_PRIVATE_HOSTS"):
            load(Settings, env)


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
        (address_pb2.Address(web=browser("BCVxsr7N")), "web.application_server_key"),
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


def test_every_faulty_window_and_place_in_the_order_of_channels_is_named() -> None:
    wishes = pb.Wishes(
        channel_order=[channel_pb2.CHANNEL_SMS, channel_pb2.CHANNEL_SMS, UNKNOWN, channel_pb2.CHANNEL_UNSPECIFIED]
    )
    wishes.quiet_windows.add(start_minute=60, end_minute=60)
    wishes.quiet_windows.add(start_minute=1440, end_minute=0, weekdays=[0, 8])
    wishes.quiet_windows.add(start_minute=60, end_minute=0, weekdays=[1, 1], channel=UNKNOWN)

    assert faulty_wishes(wishes) == [
        "wishes.quiet_windows[0].end_minute",
        "wishes.quiet_windows[1].start_minute",
        "wishes.quiet_windows[1].weekdays",
        "wishes.quiet_windows[2].weekdays",
        "wishes.quiet_windows[2].channel",
        "wishes.channel_order[1]",
        "wishes.channel_order[2]",
        "wishes.channel_order[3]",
    ]


def test_more_than_14_windows_are_refused() -> None:
    window = pb.QuietWindow(start_minute=1, end_minute=2)

    assert faulty_wishes(pb.Wishes(quiet_windows=[window] * 15)) == ["wishes.quiet_windows"]


def test_every_faulty_attribute_is_named() -> None:
    message = pb.Recipient(recipient_id="anna")
    for key, value in (("Plan", "x"), ("a", ""), ("b", "x" * 257), ("b", "y"), ("c", "line\n")):
        message.attributes.attributes.add(key=key, value=value)

    assert [fault.field for fault in refusal(message).fields] == [
        f"recipient.attributes.attributes[{place}].{field}"
        for place, field in enumerate(("key", "value", "value", "key", "value"))
    ]


def test_33rd_attribute_is_refused() -> None:
    message = pb.Recipient(recipient_id="anna")
    for number in range(33):
        message.attributes.attributes.add(key=f"k{number}", value="x")

    assert [fault.field for fault in refusal(message).fields] == ["recipient.attributes"]


def audience_faults(request: internal.ListAudienceRequest) -> list[str]:
    with pytest.raises(DomainError) as refused:
        read_page(request)
    return [fault.field for fault in refused.value.fields]


def test_every_faulty_part_of_an_audience_is_named() -> None:
    request = internal.ListAudienceRequest(after=b"x", page_size=5001)
    request.audience.topic = "News"
    request.audience.filter.add(key="", values=["x", "x", ""])
    request.audience.filter.add(key="plan")

    assert audience_faults(request) == [
        "app_id",
        "audience.topic",
        "audience.filter",
        "audience.filter[0].key",
        "audience.filter[0].values[2]",
        "audience.filter[0].values",
        "audience.filter[1].values",
        "after",
        "page_size",
        "as_of_ms",
    ]


def test_audience_must_be_told_and_takes_eight_conditions() -> None:
    request = internal.ListAudienceRequest(app_id=1, page_size=1, as_of_ms=1)
    missing = audience_faults(request)
    for number in range(9):
        request.audience.filter.add(key=f"k{number}", values=["x"])

    assert (missing, audience_faults(request)) == (["audience"], ["audience.filter"])


def test_windows_and_order_of_channels_survive_the_way_to_their_message_and_back() -> None:
    wishes = Wishes(
        quiet_windows=(QuietWindow(0, 60), QuietWindow(1320, 420, frozenset({6, 7}), Channel.SMS)),
        channel_order=(Channel.SMS, Channel.IOS),
    )

    assert wishes_from_proto(wishes_to_proto(wishes)) == wishes


def test_equal_wishes_have_equal_bytes() -> None:
    one = Wishes(
        channels_off=frozenset({Channel.SMS, Channel.IOS}),
        choices={("b", Channel.SMS): True, ("b", None): False, ("a", None): True},
        quiet_hours=QuietWindow(1320, 420),
    )
    other = Wishes(
        channels_off=frozenset({Channel.IOS, Channel.SMS}),
        choices={("a", None): True, ("b", None): False, ("b", Channel.SMS): True},
        quiet_hours=QuietWindow(1320, 420),
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
