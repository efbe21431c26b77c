"""The kinds of address, normalised. `identity` is what makes two of a channel the same address.

All of it is personal data: nothing here shows in a `repr`.
"""

from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from clarion_kit.vocabulary import Channel

_HIDDEN = "••••"


@dataclass(frozen=True, slots=True)
class ApnsDevice:
    """A device of the Apple Push Notification service; `token` in lower-case hexadecimal digits."""

    channel: ClassVar = Channel.IOS
    token: str = field(repr=False)
    bundle_id: str = ""
    development: bool = False

    @property
    def identity(self) -> str:
        return self.token

    @property
    def hint(self) -> str:
        return "apns-dev" if self.development else ""

    @property
    def masked(self) -> str:
        return _ends(self.token)


@dataclass(frozen=True, slots=True)
class AndroidDevice:
    """A device of FCM or, with `huawei`, of Huawei Push Kit."""

    channel: ClassVar = Channel.ANDROID
    token: str = field(repr=False)
    huawei: bool = False

    @property
    def identity(self) -> str:
        return self.token

    @property
    def hint(self) -> str:
        return "huawei" if self.huawei else "fcm"

    @property
    def masked(self) -> str:
        return _ends(self.token)


@dataclass(frozen=True, slots=True)
class WebSubscription:
    """A browser's push subscription; keys in base64url without padding."""

    channel: ClassVar = Channel.WEB
    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)
    application_server_key: str = ""

    @property
    def identity(self) -> str:
        return self.endpoint

    @property
    def hint(self) -> str:
        return ""

    @property
    def masked(self) -> str:
        return f"{urlsplit(self.endpoint).hostname}/{_HIDDEN}"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A phone, in E.164 with the leading "+"."""

    channel: ClassVar = Channel.SMS
    e164: str = field(repr=False)

    @property
    def identity(self) -> str:
        return self.e164

    @property
    def hint(self) -> str:
        return ""

    @property
    def masked(self) -> str:
        shown = 4 if len(self.e164) > 11 else 2
        return f"{self.e164[:3]}{_HIDDEN}{self.e164[-shown:]}"


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mailbox, its domain in lower-case ASCII."""

    channel: ClassVar = Channel.EMAIL
    address: str = field(repr=False)
    display_name: str = field(default="", repr=False)

    @property
    def identity(self) -> str:
        return self.address

    @property
    def hint(self) -> str:
        return ""

    @property
    def masked(self) -> str:
        local, _, domain = self.address.rpartition("@")
        return f"{local[:1]}{_HIDDEN}@{domain}"


Address = ApnsDevice | AndroidDevice | WebSubscription | PhoneNumber | MailAddress


def _ends(token: str) -> str:
    """Enough of a long token to recognise it by; nothing of a short one."""
    return f"{token[:4]}{_HIDDEN}{token[-4:]}" if len(token) >= 32 else _HIDDEN
