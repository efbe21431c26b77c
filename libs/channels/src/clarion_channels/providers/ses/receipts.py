"""SES's events, as SNS brings them, as receipts. Pure.

Source: docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html. They repeat and come in any order.
"""

import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.excerpt import excerpt
from clarion_channels.mail.receipt import (
    DELIVERY_ID,
    Bounce,
    Event,
    MailReceipt,
    Malformed,
    Suppression,
    delivery_id_of,
)
from clarion_channels.providers.ses.sns import Envelope, Kind

_ADDRESS = re.compile(r"\S+@\S+")
_WORD = re.compile(r"[A-Za-z0-9.-]{1,32}")


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Header(_Lenient):
    name: str = ""
    value: str = ""


class _Mail(_Lenient):
    message_id: str = Field(alias="messageId", min_length=1, max_length=200)
    destination: tuple[str, ...] = ()
    headers: tuple[_Header, ...] = ()
    tags: dict[str, tuple[str, ...]] = {}


class _Recipient(_Lenient):
    email: str = Field(default="", alias="emailAddress", max_length=320)
    status: str = ""
    diagnostic: str = Field(default="", alias="diagnosticCode")


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
    delivered: tuple[str, ...] = Field(default=(), alias="recipients")
    reason: str = ""
    error: str = Field(default="", alias="errorMessage")

    @property
    def recipients(self) -> tuple[_Recipient, ...]:
        return (
            self.bounced
            or self.complained
            or self.delayed
            or tuple(_Recipient(emailAddress=address) for address in self.delivered)
        )


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


def receipts(envelope: Envelope) -> tuple[MailReceipt, ...]:
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
            return _each(envelope, event, _Detail(), Event.ACCEPTED, kind)
        case "Delivery":
            return _each(envelope, event, event.delivery, Event.DELIVERED, kind)
        case "DeliveryDelay":
            return _each(envelope, event, event.delay, Event.DELAYED, kind, event.delay.delay_type)
        case "Bounce":
            words = (event.bounce.bounce_type, event.bounce.bounce_sub_type)
            bounce = Bounce.HARD if event.bounce.bounce_type == "Permanent" else Bounce.SOFT
            return _each(envelope, event, event.bounce, Event.BOUNCED, kind, *words, bounce=bounce)
        case "Complaint":
            return _complaint(envelope, event)
        case "Reject":
            return _each(envelope, event, event.reject, Event.REJECTED, kind)
        case "Rendering Failure" | "RenderingFailure":
            return _each(envelope, event, event.failure, Event.REJECTED, kind)
        case "Open":
            return _each(envelope, event, event.open, Event.OPENED, kind)
        case "Click":
            return _each(envelope, event, event.click, Event.CLICKED, kind)
    return ()


def _complaint(envelope: Envelope, event: _SesEvent) -> tuple[MailReceipt, ...]:
    """Somebody who says "not spam" takes a complaint back; that gives no right to write, and takes none away."""
    detail = event.complaint
    if detail.complaint_type == "not-spam":
        return ()
    return _each(
        envelope,
        event,
        detail,
        Event.COMPLAINED,
        "Complaint",
        detail.complaint_type,
        suppression=Suppression.COMPLAINT,
    )


def _each(
    envelope: Envelope,
    event: _SesEvent,
    detail: _Detail,
    meaning: Event,
    *words: str,
    bounce: Bounce | None = None,
    suppression: Suppression | None = None,
) -> tuple[MailReceipt, ...]:
    mail = event.mail
    own = next((header.value for header in mail.headers if header.name.lower() == "message-id"), "").strip("<> ")[:998]
    tagged = next(iter(mail.tags.get(DELIVERY_ID, ())), "")
    recipients = detail.recipients or tuple(_Recipient(emailAddress=address[:320]) for address in mail.destination)
    return tuple(
        MailReceipt(
            meaning,
            f"{envelope.message_id}:{index}",
            delivery_id_of(tagged) or delivery_id_of(own),
            provider_message_id=mail.message_id,
            message_id=own,
            recipient=recipient.email,
            occurred_at=detail.timestamp if detail.timestamp and detail.timestamp.tzinfo else None,
            bounce=bounce,
            suppression=suppression,
            code=":".join(word for word in (*words, recipient.status) if _WORD.fullmatch(word))[:64],
            detail=excerpt(_ADDRESS.sub("(address)", recipient.diagnostic or detail.reason or detail.error)),
        )
        for index, recipient in enumerate(recipients)
    )
