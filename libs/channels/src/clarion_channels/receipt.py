"""What came back for one message, whichever provider says it and whichever way it came. Pure values.

Every parser of receipts gives these. They repeat, come in any order, and may precede the record of their own sending: a
receipt is applied by rank (the higher number of `Receipt` stays), news of an address by their time.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from clarion_kit.vocabulary import Receipt


class News(Enum):
    """What came back about the address itself."""

    ARRIVED = "arrived"
    """It was reached: earlier soft bounces are forgotten."""
    SOFT_BOUNCE = "soft bounce"
    """Not reached this time."""
    DEAD = "dead"
    """A number or token that is gone: disabled until it is registered again."""
    HARD_BOUNCE = "hard bounce"
    """A mailbox that is gone: disabled, and suppressed."""
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    STOPPED = "stopped"
    STARTED = "started"


class Source(Enum):
    """Who said so."""

    PERSON = "person"
    PROVIDER = "provider"
    BOUNCE_MAIL = "bounce mail"


@dataclass(frozen=True, slots=True)
class ProviderReceipt:
    """One thing that came back about one message.

    The message is named by `delivery_id`, where the provider hands back ours, or by `ids`: the provider's id as
    `normalise_id` gives it, then other forms it may have been kept under. `at`: when it happened, by the provider's clock
    (aware). `receipt` and `news` are None where it says nothing final of the delivery, or nothing of the address. `code`
    is the provider's own word, for machines and free of personal data.
    """

    ids: tuple[str, ...] = ()
    receipt: Receipt | None = None
    code: str = ""
    delivery_id: UUID | None = None
    news: News | None = None
    at: datetime | None = None
    source: Source = Source.PROVIDER

    @property
    def empty(self) -> bool:
        """Nothing to keep: on its way still, or of a message that nobody can name."""
        return (self.receipt is None and self.news is None) or (self.delivery_id is None and not self.ids)


def normalise_id(message_id: str) -> str:
    """A message id in lower case without leading zeros, as it is kept for matching: carriers write it differently in
    receipts."""
    text = message_id.strip().lower()
    return text.lstrip("0") or text[:1]
