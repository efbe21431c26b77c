"""What came back for a mail, whichever way it came: event webhooks, SNS, delivery status notifications. Pure values.

Receipts repeat, come in any order and may precede the record of their own sending: dedupe by `event_id`, apply by rank.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from uuid import UUID

DELIVERY_ID = "clarion_delivery_id"
"""The name under which providers echo the delivery's id: custom argument, tag."""


class Event(IntEnum):
    """What happened to the mail or what its reader did."""

    ACCEPTED = 1
    """The provider took it, or a relay that reports no further."""
    DELAYED = 2
    """Not delivered yet; the provider goes on trying."""
    REJECTED = 3
    """The provider did not send it at all."""
    BOUNCED = 4
    """The recipient's side refused it."""
    DELIVERED = 5
    """The recipient's server took it."""
    OPENED = 6
    CLICKED = 7
    COMPLAINED = 8
    """The reader called it spam."""
    UNSUBSCRIBED = 9

    @property
    def rank(self) -> int:
        """A receipt may replace only one of lower rank; what a reader does outranks what servers say."""
        return _RANKS[self]

    @property
    def failed(self) -> bool:
        return self in (Event.REJECTED, Event.BOUNCED)


_RANKS = {
    Event.ACCEPTED: 0,
    Event.DELAYED: 1,
    Event.REJECTED: 2,
    Event.BOUNCED: 2,
    Event.DELIVERED: 3,
    Event.UNSUBSCRIBED: 3,
    Event.COMPLAINED: 3,
    Event.OPENED: 4,
    Event.CLICKED: 5,
}


class Bounce(Enum):
    """Whether a failure condemns the address."""

    HARD = "hard"
    """The address is dead."""
    SOFT = "soft"
    """Mailbox full, policy, content, or not known why: the address may be good."""


class Suppression(Enum):
    """Why the address must not be written to again."""

    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class MailReceipt:
    """One thing that came back, about one recipient.

    `event_id` is the provider's own and the same in every repetition. `delivery_id` is None where the provider did not
    echo it; then `provider_message_id` or `message_id` (the Message-ID field, without angle brackets) has to find it.
    `bounce` and `suppression` hold whatever the rank says: a bounce that follows a delivery lowers no receipt and still
    condemns the address. `machine`: an open by a proxy rather than by a person. `code` is for machines and free of
    personal data, `detail` for a person, at most 256 characters with addresses removed.
    """

    event: Event
    event_id: str
    delivery_id: UUID | None
    provider_message_id: str = ""
    message_id: str = ""
    recipient: str = ""
    occurred_at: datetime | None = None
    bounce: Bounce | None = None
    suppression: Suppression | None = None
    machine: bool = False
    code: str = ""
    detail: str = ""


class Unauthentic(Exception):
    """The signature is missing, wrong, too old, or made with a key that is not trusted; the text says which."""


class Malformed(ValueError):
    """The bytes are not what the provider documents; the text holds none of them."""


def delivery_id_of(text: str) -> UUID | None:
    """A delivery's id as it was given out: canonical UUID text, alone or before the @ of a Message-ID."""
    local = text.strip().strip("<>").partition("@")[0]
    try:
        parsed = UUID(local)
    except ValueError:
        return None
    return parsed if str(parsed) == local.lower() else None
