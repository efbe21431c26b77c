"""What a provider's answer means: a closed set, the same for every channel.

Every vendor's codes are mapped onto it by a data file beside the provider (`clarion_channels.errortable`).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum


class Outcome(IntEnum):
    """The class of an answer; it alone decides what happens next. Values are stored in `ledger.attempt`."""

    ACCEPTED = 1
    """The provider took it."""
    BAD = 2
    """Permanent: our request is wrong. The address is not to blame."""
    DEAD = 3
    """Permanent for this address: disable it."""
    CRED = 4
    """Credentials or configuration: stop the lane, burn no attempt."""
    RETRY = 5
    """Transient: try again with backoff."""
    AFTER = 6
    """Transient: try again, not before the provider's Retry-After."""
    THROTTLE = 7
    """Transient: we send too fast; lower the lane's rate and try again."""
    UNKNOWN = 8
    """The request was written and no answer came: it may or may not have been taken."""

    @property
    def retryable(self) -> bool:
        return self in _RETRYABLE


_RETRYABLE = frozenset({Outcome.CRED, Outcome.RETRY, Outcome.AFTER, Outcome.THROTTLE, Outcome.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Result:
    """One provider answer for one delivery.

    `code` is the vendor's own word for it ("Unregistered", "404:UNREGISTERED", "0x58"), at most 64 characters and
    free of personal data; `detail` is at most 256 characters of the answer for a person to read, with addresses
    removed. `retry_after` is a floor. `dead_since` is the moment (aware UTC) from which the provider knows the address
    as dead: a registration newer than that wins. `opted_out`, with DEAD: the address is good and its owner wants no
    messages of this sender, so it is suppressed instead.

    `receipt_ids` are the provider's ids under which receipts will come, empty where none will: one, or of a message of
    several segments one for each of them, "" for one that the provider did not take.
    """

    outcome: Outcome
    code: str = ""
    detail: str = ""
    provider_message_id: str = ""
    retry_after: timedelta | None = None
    dead_since: datetime | None = None
    opted_out: bool = False
    receipt_ids: tuple[str, ...] = ()

    def with_receipts(self) -> "Result":
        """The same, of a message whose receipts come under its one message id."""
        if self.outcome is not Outcome.ACCEPTED or not self.provider_message_id:
            return self
        return replace(self, receipt_ids=(self.provider_message_id,))
