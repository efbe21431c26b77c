"""What a list shows of one message, whatever provider it came by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from clarion_sandbox.ledger import Arrival

from . import mail, push, sms
from .json_value import Json

CHANNELS = ("ios", "android", "browser", "sms", "mail")
_CHANNEL_OF = {
    "apns": "ios",
    "fcm": "android",
    "huawei": "android",
    "webpush": "browser",
    "smpp": "sms",
    "twilio": "sms",
    "smtp": "mail",
    "ses": "mail",
    "sendgrid": "mail",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The words of a message and what else its channel's view needs; long texts are cut."""

    n: int
    channel: str
    provider: str
    app: str
    """Who sent it: APNs topic, Firebase project, VAPID contact, SMS sender, From address; else the provider."""
    destination: str
    received_at: float
    title: str
    subtitle: str
    body: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    """By channel: push.py, sms.py, mail.py."""

    def has(self, words: list[str]) -> bool:
        """Whether every word (casefolded) is in what is shown, the address or the app."""
        if not words:
            return True
        shown = f"{self.title}\n{self.subtitle}\n{self.body}\n{self.destination}\n{self.app}".casefold()
        return all(word in shown for word in words)

    def document(self) -> dict[str, Json]:
        """As the page reads it."""
        return {
            "n": self.n,
            "channel": self.channel,
            "provider": self.provider,
            "app": self.app,
            "destination": self.destination,
            "received_at": self.received_at,
            "title": self.title,
            "subtitle": self.subtitle,
            "body": self.body,
            "facts": dict(self.facts),
        }


def summarize(arrival: Arrival) -> Summary:
    """The summary of a message; whatever its bytes are, there is one."""
    channel = _CHANNEL_OF.get(arrival.provider, "other")
    match channel:
        case "ios":
            shown = push.of_apns(arrival)
        case "android":
            shown = push.of_android(arrival)
        case "browser":
            shown = push.of_browser(arrival)
        case "sms":
            shown = sms.shown(arrival)
        case "mail":
            shown = mail.shown(arrival)
        case _:
            shown = push.of_text(arrival)
    return Summary(
        arrival.n,
        channel,
        arrival.provider,
        shown.app or arrival.provider,
        arrival.destination,
        arrival.received_at,
        shown.title,
        shown.subtitle,
        shown.body,
        shown.facts,
    )
