"""Makes addresses: `addresses.phone("+821012345678")`. All of them are personal data; the server checks their form."""

import json
from collections.abc import Mapping

from clarion.types.v1 import address_pb2


def ios(token: str, *, bundle_id: str = "", development: bool = False) -> address_pb2.Address:
    """A device of the Apple Push Notification service; `token` in hexadecimal. `bundle_id` "": the provider's own."""
    environment = address_pb2.APNS_ENVIRONMENT_DEVELOPMENT if development else address_pb2.APNS_ENVIRONMENT_PRODUCTION
    return address_pb2.Address(ios=address_pb2.ApnsDevice(token=token, bundle_id=bundle_id, environment=environment))


def android(token: str, *, huawei: bool = False) -> address_pb2.Address:
    """A device of Firebase Cloud Messaging, or of Huawei Push Kit."""
    service = address_pb2.ANDROID_PUSH_SERVICE_HUAWEI if huawei else address_pb2.ANDROID_PUSH_SERVICE_FCM
    return address_pb2.Address(android=address_pb2.AndroidDevice(token=token, service=service))


def web(subscription: str | Mapping[str, object], *, application_server_key: str = "") -> address_pb2.Address:
    """A browser, from what `JSON.stringify(PushSubscription)` gave (https://www.w3.org/TR/push-api/), text or parsed.

    `application_server_key`: the VAPID public key that the page subscribed with, in base64url, where keys are rotated.
    Raises ValueError when endpoint or keys are missing; the message does not repeat what was given.
    """
    try:
        given: object = json.loads(subscription) if isinstance(subscription, str) else subscription
    except json.JSONDecodeError:
        raise ValueError("the push subscription is not JSON") from None
    keys = given.get("keys") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(keys, Mapping):
        raise ValueError("the push subscription has no keys")
    endpoint, p256dh, auth = given.get("endpoint"), keys.get("p256dh"), keys.get("auth")
    if not (isinstance(endpoint, str) and isinstance(p256dh, str) and isinstance(auth, str)):
        raise ValueError("the push subscription needs endpoint, keys.p256dh and keys.auth")
    web = address_pb2.WebSubscription(
        endpoint=endpoint, p256dh=p256dh, auth=auth, application_server_key=application_server_key
    )
    return address_pb2.Address(web=web)


def phone(e164: str) -> address_pb2.Address:
    """A phone for text messages, in E.164 with the leading "+"."""
    return address_pb2.Address(sms=address_pb2.PhoneNumber(e164=e164))


def mail(address: str, *, display_name: str = "") -> address_pb2.Address:
    """A mailbox."""
    return address_pb2.Address(email=address_pb2.MailAddress(address=address, display_name=display_name))
