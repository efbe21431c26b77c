"""The words of the contracts as Python enums, for code that imports no protobuf.

Numbers are those of `clarion.types.v1` and `clarion.notification.v1` and are stored in the ledger; a test compares
every name and number with the descriptors.
"""

from enum import IntEnum
from typing import Self


class Word(IntEnum):
    """A word of the contracts. A number that this version does not know yet is a word of its own, so that a row which a
    newer version wrote harms nobody who reads it."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = f"UNKNOWN_{value}"
        unknown._value_ = value
        return unknown

    @property
    def known(self) -> bool:
        return self.name in type(self).__members__


class Channel(Word):
    """What the recipient owns."""

    IOS = 1
    ANDROID = 2
    WEB = 3
    SMS = 4
    EMAIL = 5

    @property
    def slug(self) -> str:
        """Lower-case name, as it stands in subjects, metrics and settings."""
        return self.name.lower()


class Priority(Word):
    """How urgent; each has its own subjects and consumers at every hop."""

    URGENT = 1
    NORMAL = 2
    BULK = 3

    @property
    def slug(self) -> str:
        return self.name.lower()


class NotificationState(Word):
    SCHEDULED = 1
    ACCEPTED = 2
    PLANNED = 3
    DONE = 4
    CANCELLED = 5
    EXPIRED = 6


class BroadcastState(Word):
    """Where a broadcast stands; numbers are those of `clarion.broadcast.v1`."""

    RUNNING = 1
    PAUSED = 2
    PLANNED = 3
    CANCELLING = 4
    CANCELLED = 5
    EXPIRED = 6


class DeliveryState(Word):
    READY = 1
    ENQUEUED = 2
    LEASED = 3
    RETRY_WAIT = 4
    DEFERRED = 5
    HELD = 6
    WAITING = 7
    SENT = 20
    FAILED = 21
    SUPPRESSED = 22
    EXPIRED = 23
    CANCELLED = 24
    DEAD_LETTERED = 25

    @property
    def terminal(self) -> bool:
        return self >= DeliveryState.SENT


class Receipt(Word):
    """What came back; a higher one never gives way to a lower one."""

    UNDELIVERED = 1
    DELIVERED = 2
    SEEN = 3
    CLICKED = 4


class Reason(Word):
    APP_DISABLED = 1
    CATEGORY_DISABLED = 2
    RECIPIENT_UNKNOWN = 3
    NO_ADDRESS = 4
    SUPPRESSION_LIST = 5
    OPTED_OUT = 6
    CHANNEL_OFF = 7
    CATEGORY_OFF = 8
    QUIET_HOURS = 9
    DUPLICATE_CONTENT = 10
    NO_CONTENT = 11
    RENDER_FAILED = 12
    NO_ROUTE = 13
    CAPPED = 14
    MERGED = 15
    CHANNEL_NOT_CHOSEN = 16
    TOO_LARGE = 17
    DEFERRED_TOO_LONG = 18
    COUNTRY_NOT_ALLOWED = 19
    NOT_YET_DUE = 20
    REFUSED = 40
    ADDRESS_DEAD = 41
    AMBIGUOUS = 42
    OPTED_OUT_AT_PROVIDER = 43
    DEADLINE_PASSED = 60
    CANCELLED_BY_APP = 70
    NOT_NEEDED = 71
    WISH_CHANGED = 72
    ERASED = 73
    ADDRESS_GONE = 74
    RETRIES_EXHAUSTED = 80
    POISON = 81
    HELD_TOO_LONG = 82
    PROVIDER_DELETED = 83


class Gate(Word):
    """The gates of planning, in their order."""

    APP = 1
    CATEGORY = 2
    ADDRESS = 3
    SUPPRESSION_LIST = 4
    WISHES = 5
    QUIET_HOURS = 6
    CONTENT_DEDUPE = 7
    RENDER = 8
    ROUTE = 9
    CAPS = 10


class Verdict(Word):
    """What a gate said."""

    PASS = 1
    SUPPRESS = 2
    DEFER = 3
    PASS_UNCHECKED = 4
    SHADOW = 5


class EventKind(Word):
    SCHEDULED = 1
    ACCEPTED = 2
    PLANNED = 3
    RETRY = 4
    TERMINAL = 5
    RECEIPT = 6
    CANCELLED = 7
    EXPIRED = 8
    REDRIVEN = 9
    HELD = 10
    DEFERRED = 11
    WAITING = 12
    RELEASED = 13
    BROADCAST = 20
    RESCHEDULED = 21


class StopReason(Word):
    """Why a provider account takes no work."""

    CREDENTIALS = 1
    BREAKER = 2
    DEAD_JUMP = 3
    OPERATOR = 4
    UNUSABLE = 5

    @property
    def by_hand(self) -> bool:
        """Only a person lets it go on."""
        return self in (StopReason.DEAD_JUMP, StopReason.OPERATOR)
