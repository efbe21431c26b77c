"""From a composed mail to the JSON of SendEmail: pure rules, no I/O.

Source: docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from uuid import UUID

from clarion_channels.mail.receipt import DELIVERY_ID

MAX_MAIL_BYTES = 40 * 1024 * 1024
"""SES counts the mail, not the base64 of it."""


class TooLarge(Exception):
    """The mail is over SES's limit."""


def build_body(
    mail: bytes, sender: str, recipient: str, delivery_id: UUID, configuration_set: str, tags: Mapping[str, str]
) -> bytes:
    """The request's JSON; `sender` and `recipient` are the envelope's. Raises `TooLarge`."""
    if len(mail) > MAX_MAIL_BYTES:
        raise TooLarge(f"mail of {len(mail)} bytes, SES takes {MAX_MAIL_BYTES}")
    document: dict[str, object] = {
        "FromEmailAddress": sender,
        "Destination": {"ToAddresses": [recipient]},
        "Content": {"Raw": {"Data": b64encode(mail).decode("ascii")}},
        "EmailTags": [{"Name": name, "Value": value} for name, value in _all_tags(tags, delivery_id).items()],
    }
    if configuration_set:
        document["ConfigurationSetName"] = configuration_set
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _all_tags(tags: Mapping[str, str], delivery_id: UUID) -> dict[str, str]:
    return {**tags, DELIVERY_ID: str(delivery_id)}
