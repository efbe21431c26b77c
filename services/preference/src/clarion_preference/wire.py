"""Wishes, attributes and addresses between domain and contracts, for the edge and for what is stored. Nothing is checked here."""

from collections.abc import Iterable

from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import Address, AndroidDevice, ApnsDevice, MailAddress, PhoneNumber, WebSubscription
from clarion_preference.attributes import AddressFacts, Attribute
from clarion_preference.domain import Wishes
from clarion_preference.quiet import EVERY_DAY, QuietWindow


def wishes_from_proto(message: recipient.Wishes) -> Wishes:
    """Wishes that were checked when they came in."""
    quiet = message.quiet_hours
    return Wishes(
        opted_out=message.opted_out,
        channels_off=frozenset(Channel(number) for number in message.channels_off),
        choices={
            (choice.category, Channel(choice.channel) if choice.channel else None): choice.enabled
            for choice in message.categories
        },
        quiet_hours=QuietWindow(quiet.start_minute, quiet.end_minute) if message.HasField("quiet_hours") else None,
        quiet_windows=tuple(
            QuietWindow(
                window.start_minute,
                window.end_minute,
                frozenset(window.weekdays) or EVERY_DAY,
                Channel(window.channel) if window.channel else None,
            )
            for window in message.quiet_windows
        ),
        channel_order=tuple(Channel(channel) for channel in message.channel_order),
    )


def wishes_to_proto(wishes: Wishes) -> recipient.Wishes:
    """Sorted, so that equal wishes give equal bytes."""
    message = recipient.Wishes(
        opted_out=wishes.opted_out,
        channels_off=[channel_to_proto(channel) for channel in sorted(wishes.channels_off)],
    )
    for (category, channel), enabled in sorted(wishes.choices.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        message.categories.add(category=category, channel=channel_to_proto(channel), enabled=enabled)
    if wishes.quiet_hours is not None:
        message.quiet_hours.start_minute = wishes.quiet_hours.start_minute
        message.quiet_hours.end_minute = wishes.quiet_hours.end_minute
    for window in wishes.quiet_windows:
        message.quiet_windows.add(
            start_minute=window.start_minute,
            end_minute=window.end_minute,
            weekdays=() if window.weekdays == EVERY_DAY else sorted(window.weekdays),
            channel=channel_to_proto(window.channel),
        )
    message.channel_order.extend(channel_to_proto(channel) for channel in wishes.channel_order)
    return message


def attributes_from_proto(message: recipient.Attributes) -> tuple[Attribute, ...]:
    return tuple(Attribute(one.key, one.value, one.filterable) for one in message.attributes)


def attributes_to_proto(attributes: Iterable[Attribute]) -> recipient.Attributes:
    """By key."""
    message = recipient.Attributes()
    for one in sorted(attributes, key=lambda attribute: attribute.key):
        message.attributes.add(key=one.key, value=one.value, filterable=one.filterable)
    return message


def facts_from_proto(message: recipient.AddressFacts) -> AddressFacts:
    return AddressFacts(message.app_version, message.device_name, message.verified)


def facts_to_proto(facts: AddressFacts) -> recipient.AddressFacts:
    return recipient.AddressFacts(app_version=facts.app_version, device_name=facts.device_name, verified=facts.verified)


def address_to_proto(address: Address) -> address_pb2.Address:
    match address:
        case ApnsDevice():
            environment = (
                address_pb2.APNS_ENVIRONMENT_DEVELOPMENT
                if address.development
                else address_pb2.APNS_ENVIRONMENT_PRODUCTION
            )
            ios = address_pb2.ApnsDevice(token=address.token, bundle_id=address.bundle_id, environment=environment)
            return address_pb2.Address(ios=ios)
        case AndroidDevice():
            service = (
                address_pb2.ANDROID_PUSH_SERVICE_HUAWEI if address.huawei else address_pb2.ANDROID_PUSH_SERVICE_FCM
            )
            return address_pb2.Address(android=address_pb2.AndroidDevice(token=address.token, service=service))
        case WebSubscription():
            web = address_pb2.WebSubscription(
                endpoint=address.endpoint,
                p256dh=address.p256dh,
                auth=address.auth,
                application_server_key=address.application_server_key,
            )
            return address_pb2.Address(web=web)
        case PhoneNumber():
            return address_pb2.Address(sms=address_pb2.PhoneNumber(e164=address.e164))
        case MailAddress():
            mail = address_pb2.MailAddress(address=address.address, display_name=address.display_name)
            return address_pb2.Address(email=mail)


def address_from_proto(message: address_pb2.Address) -> Address:
    """An address that was checked when it came in. Raises ValueError if it has no kind."""
    match message.WhichOneof("kind"):
        case "ios":
            development = message.ios.environment == address_pb2.APNS_ENVIRONMENT_DEVELOPMENT
            return ApnsDevice(message.ios.token, message.ios.bundle_id, development)
        case "android":
            huawei = message.android.service == address_pb2.ANDROID_PUSH_SERVICE_HUAWEI
            return AndroidDevice(message.android.token, huawei)
        case "web":
            web = message.web
            return WebSubscription(web.endpoint, web.p256dh, web.auth, web.application_server_key)
        case "sms":
            return PhoneNumber(message.sms.e164)
        case "email":
            return MailAddress(message.email.address, message.email.display_name)
        case _:
            raise ValueError("an address without a kind")


def channel_to_proto(channel: Channel | None) -> channel_pb2.Channel.ValueType:
    """None: unspecified."""
    return channel_pb2.Channel.ValueType(channel or 0)
