"""Provider accounts of the sandbox, as an app would set up its real ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from clarion_client import JsonValue
from clarion_kit.vocabulary import Channel


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

    def accounts(self) -> list[Account]:
        """One account for each channel."""
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
                    "system_id": smpp["system_id"],
                    "password": smpp["password"],
                    "source": "Clarion",
                    # Two long messages to one phone within seconds share an 8-bit reference once in 256 times, and the
                    # phone puts them together wrongly.
                    "reference_bits": 16,
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
                },
            ),
        }
        trusting = {"apns", "fcm", "webpush", "smtp"}
        return [
            Account(name, kind, channel, {**document, **({"ca_file": self.ca_file} if kind in trusting else {})})
            for name, (kind, channel, document) in settings.items()
        ]
