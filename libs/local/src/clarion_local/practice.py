"""Provider accounts of the sandbox, as an app would set up its real ones."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from clarion.routing.v1.routing_service_pb2 import Route, Target
from clarion_client import JsonValue
from clarion_kit.vocabulary import Channel

_TWILIO_COUNTRIES = ("US", "CA")


@dataclass(frozen=True, slots=True)
class Account:
    """A provider account to put: its kind and its settings document."""

    name: str
    kind: str
    channel: Channel
    settings: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Practice:
    """What the sandbox says of itself (`sandbox.json`)."""

    document: Mapping[str, Mapping[str, str]]
    url: str
    api_token: str
    inbox_url: str
    ca_file: str

    @staticmethod
    def read(description: Path, ca_file: str) -> "Practice":
        """Raises OSError, ValueError."""
        document = json.loads(description.read_text())
        return Practice(document, document["url"], document["api_token"], document["inbox_url"], ca_file)

    @property
    def vapid_public_key(self) -> str:
        return self.document["webpush"]["vapid_public_key"]

    def accounts(self, app: str) -> list[Account]:
        """One account for each channel; with the carrier `app` has a branch of its own, as receipts come back over any
        session of one."""
        host, port = urlsplit(self.url).hostname, urlsplit(self.url).port
        apns, fcm, web, smpp, smtp = (self.document[name] for name in ("apns", "fcm", "webpush", "smpp", "smtp"))
        settings: dict[str, tuple[str, Channel, dict[str, JsonValue]]] = {
            "sandbox-apns": (
                "apns",
                Channel.IOS,
                {
                    "auth": {
                        "kind": "token",
                        "key_p8": apns["private_key"],
                        "key_id": apns["key_id"],
                        "team_id": apns["team_id"],
                    },
                    "bundle_id": apns["topics"][0],
                    "production_host": host,
                    "production_port": port,
                    "development_host": host,
                    "development_port": port,
                },
            ),
            "sandbox-fcm": (
                "fcm",
                Channel.ANDROID,
                {"service_account": fcm["service_account"], "base_url": fcm["url"]},
            ),
            "sandbox-webpush": (
                "webpush",
                Channel.WEB,
                {
                    "vapid_private_key": web["vapid_private_key"],
                    "vapid_subject": web["subject"],
                    "allowed_hosts": [f"{host}:{port}"],
                    "allow_private_addresses": True,
                },
            ),
            "sandbox-smpp": (
                "smpp",
                Channel.SMS,
                {
                    "host": smpp["host"],
                    "port": smpp["port"],
                    "system_id": _branch(smpp["system_id"], app),
                    "password": smpp["password"],
                    "source": "Clarion",
                },
            ),
            "sandbox-smtp": (
                "smtp",
                Channel.EMAIL,
                {
                    "host": smtp["host"],
                    "port": smtp["port"],
                    "username": smtp["username"],
                    "password": smtp["password"],
                    "from_address": "hello@shop.example",
                    "from_name": "Example Shop",
                    "return_path_domain": "bounces.shop.example",
                },
            ),
        }
        return self._accounts(settings)

    def others(self) -> list[Account]:
        """The providers beside those: for devices in China, for some countries, and for when the first one is away.

        SES reports through Amazon's own hosts, which the sandbox is not; its account names no configuration set, so that it
        reports nothing.
        """
        huawei, twilio, ses, sendgrid = (self.document[name] for name in ("huawei", "twilio", "ses", "sendgrid"))
        settings: dict[str, tuple[str, Channel, dict[str, JsonValue]]] = {
            "sandbox-huawei": (
                "huawei",
                Channel.ANDROID,
                {
                    "client_id": huawei["client_id"],
                    "client_secret": huawei["client_secret"],
                    "base_url": huawei["url"],
                    "token_url": huawei["token_url"],
                    "callback_user": huawei["callback_user"],
                    "callback_key": huawei["callback_key"],
                },
            ),
            "sandbox-twilio": (
                "twilio",
                Channel.SMS,
                {
                    "account_sid": twilio["account_sid"],
                    "auth_token": twilio["auth_token"],
                    "sender": "Clarion",
                    "base_url": twilio["url"],
                },
            ),
            "sandbox-ses": (
                "ses",
                Channel.EMAIL,
                {
                    "region": ses["region"],
                    "access_key_id": ses["access_key_id"],
                    "secret_access_key": ses["secret_access_key"],
                    "from_address": "hello@shop.example",
                    "from_name": "Example Shop",
                    "base_url": ses["url"],
                },
            ),
            "sandbox-sendgrid": (
                "sendgrid",
                Channel.EMAIL,
                {
                    "api_key": sendgrid["api_key"],
                    "from_address": "hello@shop.example",
                    "from_name": "Example Shop",
                    "webhook_public_key": sendgrid["event_public_key"],
                    "base_url": sendgrid["url"],
                },
            ),
        }
        return self._accounts(settings)

    def _accounts(self, settings: Mapping[str, tuple[str, Channel, dict[str, JsonValue]]]) -> list[Account]:
        return [
            Account(name, kind, channel, {**document, **({"ca_file": self.ca_file} if kind != "smpp" else {})})
            for name, (kind, channel, document) in settings.items()
        ]


def routes() -> Mapping[Channel, Sequence[Route]]:
    """Who is served by which of all those accounts. A device goes to the push service that issued its token, whatever its
    country; where the first provider of a rank is away, the next one serves."""

    def targets(*names: str) -> list[Target]:
        return [Target(provider=f"sandbox-{name}", rank=rank) for rank, name in enumerate(names)]

    return {
        Channel.ANDROID: [
            Route(country="CN", targets=targets("huawei", "fcm")),
            Route(targets=targets("fcm", "huawei")),
        ],
        Channel.SMS: [
            *(Route(country=country, targets=targets("twilio", "smpp")) for country in _TWILIO_COUNTRIES),
            Route(targets=targets("smpp", "twilio")),
        ],
        Channel.EMAIL: [Route(targets=targets("smtp", "ses", "sendgrid"))],
    }


def _branch(system_id: str, app: str) -> str:
    return f"{system_id}-{hashlib.sha256(app.encode()).hexdigest()[:7]}"
