"""What happens to mails, and what that means for delivery and address; the same for webhooks, SNS and bounce mail. Pure."""

from datetime import datetime
from enum import Enum
from uuid import UUID

from clarion_channels.receipt import News, ProviderReceipt, Source, normalise_id
from clarion_kit.vocabulary import Receipt

DELIVERY_ID = "clarion_delivery_id"
"""The name under which providers echo the delivery's id: custom argument, tag."""


class Event(Enum):
    """What happened to the mail or what its reader did."""

    ACCEPTED = "accepted"
    """The provider took it, or a relay that reports no further."""
    DELAYED = "delayed"
    """Not delivered yet; the provider goes on trying."""
    REJECTED = "rejected"
    """The provider did not send it at all."""
    BOUNCED = "bounced"
    """The recipient's side refused it."""
    DELIVERED = "delivered"
    """The recipient's server took it."""
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    """The reader called it spam."""
    UNSUBSCRIBED = "unsubscribed"


_RECEIPTS = {
    Event.REJECTED: Receipt.UNDELIVERED,
    Event.BOUNCED: Receipt.UNDELIVERED,
    Event.DELIVERED: Receipt.DELIVERED,
    # Whoever complains or unsubscribes has it.
    Event.COMPLAINED: Receipt.DELIVERED,
    Event.UNSUBSCRIBED: Receipt.DELIVERED,
    Event.OPENED: Receipt.SEEN,
    Event.CLICKED: Receipt.CLICKED,
}
_NEWS = {
    Event.DELIVERED: News.ARRIVED,
    Event.COMPLAINED: News.COMPLAINT,
    Event.UNSUBSCRIBED: News.UNSUBSCRIBED,
}


class Unauthentic(Exception):
    """The signature is missing, wrong, too old, or made with a key that is not trusted; the text says which."""


class Malformed(ValueError):
    """The bytes are not what the provider documents; the text holds none of them."""


def mail_receipt(
    event: Event,
    *,
    delivery_id: UUID | None,
    message_id: str = "",
    news: News | None = None,
    machine: bool = False,
    code: str = "",
    at: datetime | None = None,
    source: Source = Source.PROVIDER,
) -> ProviderReceipt:
    """The receipt of an event. `message_id`: the provider's id where it names this one mail. `news`: what the event says of
    the address, where that does not follow from the event. `machine`: an open by a proxy rather than by a person."""
    return ProviderReceipt(
        (normalise_id(message_id),) if message_id else (),
        None if machine else _RECEIPTS.get(event),
        code,
        delivery_id,
        news or _NEWS.get(event),
        at,
        source,
    )


def delivery_id_of(text: str) -> UUID | None:
    """A delivery's id as it was given out: canonical UUID text, alone or before the @ of a Message-ID."""
    local = text.strip().strip("<>").partition("@")[0]
    try:
        parsed = UUID(local)
    except ValueError:
        return None
    return parsed if str(parsed) == local.lower() else None
