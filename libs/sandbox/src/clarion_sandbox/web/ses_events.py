"""What SES publishes about an accepted mail, through SNS.

Source: Amazon SES, "Examples of event data that Amazon SES publishes to Amazon SNS".
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from clarion_sandbox.answers import Row
from clarion_sandbox.callback_urls import CallbackUrls
from clarion_sandbox.callbacks import Call, Callbacks

from .manners import delay_of
from .sns import Topic

_DELIVERED = Row("delivered", 200, "Delivery", {"events": ["Delivery"]})


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail as it was accepted."""

    message_id: str
    sender: str
    recipient: str
    our_id: str
    tags: Mapping[str, Sequence[str]]


class SesEvents:
    """The configuration set's event destination."""

    def __init__(
        self, topic: Topic, callbacks: Callbacks, urls: CallbackUrls, delay_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._topic = topic
        self._callbacks = callbacks
        self._urls = urls
        self._delay_seconds = delay_seconds
        self._clock = clock
        self._confirmed = ""

    def publish(self, mail: SentMail, asked: Row | None) -> bool:
        """Post the mail's events, if somebody wants them; says whether they are to arrive before the answer."""
        url = self._urls.get("ses")
        row = asked or _DELIVERED
        manner = row.text("manner") or ""
        if url is None or manner == "never":
            return False
        events = row.detail.get("events")
        kinds = ["Send", *(str(kind) for kind in events)] if isinstance(events, list) else ["Send"]
        if manner == "reversed":
            kinds.reverse()
        calls = [partial(self._notify, mail, kind, row, str(uuid.uuid4())) for kind in kinds]
        if manner == "twice":
            calls = [call for call in calls for _ in range(2)]
        first = [] if url == self._confirmed else [self._topic.confirmation]
        self._confirmed = url
        self._callbacks.post("ses", url, [*first, *calls], delay_of(manner, self._delay_seconds))
        return manner == "before_response"

    def _notify(self, mail: SentMail, kind: str, row: Row, message_id: str) -> Call:
        return self._topic.notification(self._event(mail, kind, row), message_id)

    def _event(self, mail: SentMail, kind: str, row: Row) -> dict[str, object]:
        moment = datetime.fromtimestamp(self._clock(), UTC)
        now = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
        event: dict[str, object] = {
            "eventType": kind,
            "mail": {
                "timestamp": now,
                "messageId": mail.message_id,
                "source": mail.sender,
                "destination": [mail.recipient],
                "headersTruncated": False,
                "headers": [{"name": "Message-ID", "value": mail.our_id}],
                "tags": dict(mail.tags),
            },
        }
        detail = _detail(mail, kind, row)
        if detail is not None:
            name, fields = detail
            event[name] = {"timestamp": now, **fields} if kind not in ("Send", "Reject") else fields
        return event


def _detail(mail: SentMail, kind: str, row: Row) -> tuple[str, dict[str, object]] | None:
    """The object of an event, by the name it has there."""
    address = {"emailAddress": mail.recipient}
    status = row.text("status") or ""
    failed = {
        **address,
        "action": "failed",
        "status": status,
        "diagnosticCode": f"smtp; 550 {status} <{mail.recipient}> refused",
    }
    match kind:
        case "Send":
            return "send", {}
        case "Delivery":
            return "delivery", {"recipients": [mail.recipient], "smtpResponse": "250 2.0.0 Ok"}
        case "Bounce":
            words = {"bounceType": row.text("bounce"), "bounceSubType": row.text("subtype")}
            return "bounce", {**words, "bouncedRecipients": [failed], "feedbackId": str(uuid.uuid4())}
        case "Complaint":
            words = {"complaintFeedbackType": row.text("complaint")}
            return "complaint", {**words, "complainedRecipients": [address], "feedbackId": str(uuid.uuid4())}
        case "DeliveryDelay":
            return "deliveryDelay", {
                "delayType": row.text("delay"),
                "delayedRecipients": [{**address, "status": status}],
            }
        case "Reject":
            return "reject", {"reason": "Bad content"}
        case "Open":
            return "open", {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0"}
        case "Click":
            return "click", {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0", "link": "https://example.com/"}
    return None
