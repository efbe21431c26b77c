"""Addresses of requests as domain values, every fault named."""

from functools import partial

from clarion.types.v1 import address_pb2
from clarion_kit.vocabulary import Channel
from clarion_preference import contact_points
from clarion_preference.addresses import Address, AndroidDevice, ApnsDevice, MailAddress, PhoneNumber, WebSubscription
from clarion_preference.rpc.faults import RequestFaults

_MAX_BUNDLE_ID_BYTES = 255
_MAX_DISPLAY_NAME = 128
_MAX_DISPLAY_NAME_BYTES = 4 * _MAX_DISPLAY_NAME


_CHANNELS = {channel.slug: channel for channel in Channel}
"""Channels by the name of their kind of address."""


def read_address(
    faults: RequestFaults, path: str, message: address_pb2.Address, *, private_hosts: bool = False
) -> Address | None:
    """The address in its normal form, with what is sound of it; the rest becomes faults under `path`.

    `private_hosts`: browsers' endpoints on any host, for practice, and for addresses that are named and not stored.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        faults.add(path, "required: exactly one kind of address")
        return None
    with faults.address(f"{path}.{kind}", _CHANNELS[kind]):
        match kind:
            case "ios":
                return _ios(faults, message.ios)
            case "android":
                return _android(faults, message.android)
            case "web":
                return _web(faults, message.web, private_hosts)
            case "sms":
                return PhoneNumber(faults.read("e164", message.sms.e164, contact_points.phone_number))
            case "email":
                return _email(faults, message.email)


def _ios(faults: RequestFaults, message: address_pb2.ApnsDevice) -> ApnsDevice:
    faults.text("bundle_id", message.bundle_id, max_bytes=_MAX_BUNDLE_ID_BYTES, required=False)
    known = message.environment in address_pb2.ApnsEnvironment.values()
    faults.require("environment", known, "is not a known environment")
    return ApnsDevice(
        faults.read("token", message.token, contact_points.apns_token),
        message.bundle_id,
        message.environment == address_pb2.APNS_ENVIRONMENT_DEVELOPMENT,
    )


def _android(faults: RequestFaults, message: address_pb2.AndroidDevice) -> AndroidDevice:
    faults.require("service", message.service in address_pb2.AndroidPushService.values(), "is not a known push service")
    return AndroidDevice(
        faults.read("token", message.token, contact_points.android_token),
        message.service == address_pb2.ANDROID_PUSH_SERVICE_HUAWEI,
    )


def _web(faults: RequestFaults, message: address_pb2.WebSubscription, private_hosts: bool) -> WebSubscription:
    return WebSubscription(
        faults.read("endpoint", message.endpoint, partial(contact_points.push_endpoint, private=private_hosts)),
        faults.read("p256dh", message.p256dh, contact_points.p256dh_key),
        faults.read("auth", message.auth, contact_points.push_auth),
        faults.read("application_server_key", message.application_server_key, contact_points.p256dh_key)
        if message.application_server_key
        else "",
    )


def _email(faults: RequestFaults, message: address_pb2.MailAddress) -> MailAddress:
    name = message.display_name
    if faults.text("display_name", name, max_bytes=_MAX_DISPLAY_NAME_BYTES, required=False):
        faults.require("display_name", len(name) <= _MAX_DISPLAY_NAME, f"longer than {_MAX_DISPLAY_NAME} characters")
    return MailAddress(faults.read("address", message.address, contact_points.mail_address), name)
