"""SES's events, as SNS brings them, as receipts. Pure.

Source: docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html. They repeat and come in any order.
"""

import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.mail.receipt import DELIVERY_ID, Event, Malformed, delivery_id_of, mail_receipt
from clarion_channels.providers.ses.sns import Envelope, Kind
from clarion_channels.receipt import News, ProviderReceipt

_WORD = re.compile(r"[A-Za-z0-9.-]{1,32}")


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Header(_Lenient):
    name: str = ""
    value: str = ""


class _Mail(_Lenient):
    message_id: str = Field(alias="messageId", min_length=1, max_length=200)
    headers: tuple[_Header, ...] = ()
    tags: dict[str, tuple[str, ...]] = {}


class _Recipient(_Lenient):
    status: str = ""


class _Detail(_Lenient):
    """The object named after the event; which of its fields are there depends on the event."""

    timestamp: datetime | None = None
    bounce_type: str = Field(default="", alias="bounceType")
    bounce_sub_type: str = Field(default="", alias="bounceSubType")
    bounced: tuple[_Recipient, ...] = Field(default=(), alias="bouncedRecipients")
    complaint_type: str = Field(default="", alias="complaintFeedbackType")
    complained: tuple[_Recipient, ...] = Field(default=(), alias="complainedRecipients")
    delay_type: str = Field(default="", alias="delayType")
    delayed: tuple[_Recipient, ...] = Field(default=(), alias="delayedRecipients")

    @property
    def recipients(self) -> tuple[_Recipient, ...]:
        """Those that the event names with a status of their own; each of our mails has one."""
        return self.bounced or self.complained or self.delayed or (_Recipient(),)


class _SesEvent(_Lenient):
    event_type: str = Field(default="", alias="eventType")
    notification_type: str = Field(default="", alias="notificationType")
    mail: _Mail
    bounce: _Detail = _Detail()
    complaint: _Detail = _Detail()
    delivery: _Detail = _Detail()
    delay: _Detail = Field(default=_Detail(), alias="deliveryDelay")
    reject: _Detail = _Detail()
    failure: _Detail = Field(default=_Detail(), alias="failure")
    open: _Detail = _Detail()
    click: _Detail = _Detail()


def receipts(envelope: Envelope) -> tuple[ProviderReceipt, ...]:
    """What a verified notification says, one receipt per recipient; none for events that say nothing of a delivery.

    Raises `Malformed`, also for a notification that is not from SES.
    """
    if envelope.kind is not Kind.NOTIFICATION:
        return ()
    try:
        event = _SesEvent.model_validate_json(envelope.message)
    except ValidationError as error:
        raise Malformed("the notification is no event of SES") from error
    kind = event.event_type or event.notification_type
    match kind:
        case "Send":
            return _each(event, _Detail(), Event.ACCEPTED, kind)
        case "Delivery":
            return _each(event, event.delivery, Event.DELIVERED, kind)
        case "DeliveryDelay":
            return _each(event, event.delay, Event.DELAYED, kind, event.delay.delay_type)
        case "Bounce":
            words = (event.bounce.bounce_type, event.bounce.bounce_sub_type)
            news = News.HARD_BOUNCE if event.bounce.bounce_type == "Permanent" else News.SOFT_BOUNCE
            return _each(event, event.bounce, Event.BOUNCED, kind, *words, news=news)
        case "Complaint":
            return _complaint(event)
        case "Reject":
            return _each(event, event.reject, Event.REJECTED, kind)
        case "Rendering Failure" | "RenderingFailure":
            return _each(event, event.failure, Event.REJECTED, kind)
        case "Open":
            return _each(event, event.open, Event.OPENED, kind)
        case "Click":
            return _each(event, event.click, Event.CLICKED, kind)
    return ()


def _complaint(event: _SesEvent) -> tuple[ProviderReceipt, ...]:
    """Somebody who says "not spam" takes a complaint back; that gives no right to write, and takes none away."""
    detail = event.complaint
    if detail.complaint_type == "not-spam":
        return ()
    return _each(event, detail, Event.COMPLAINED, "Complaint", detail.complaint_type)


def _each(
    event: _SesEvent, detail: _Detail, meaning: Event, *words: str, news: News | None = None
) -> tuple[ProviderReceipt, ...]:
    mail = event.mail
    own = next((header.value for header in mail.headers if header.name.lower() == "message-id"), "").strip("<> ")[:998]
    tagged = next(iter(mail.tags.get(DELIVERY_ID, ())), "")
    return tuple(
        mail_receipt(
            meaning,
            delivery_id=delivery_id_of(tagged) or delivery_id_of(own),
            message_id=mail.message_id,
            news=news,
            code=":".join(word for word in (*words, recipient.status) if _WORD.fullmatch(word))[:64],
            at=detail.timestamp if detail.timestamp and detail.timestamp.tzinfo else None,
        )
        for recipient in detail.recipients
    )
