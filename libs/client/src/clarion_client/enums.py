"""Names for the contract's numbers."""

from enum import IntEnum


class Channel(IntEnum):
    """What the recipient owns (`clarion.types.v1.Channel`)."""

    IOS = 1
    ANDROID = 2
    WEB = 3
    SMS = 4
    EMAIL = 5


class Priority(IntEnum):
    """How pressing a notification is (`clarion.types.v1.Priority`)."""

    URGENT = 1
    NORMAL = 2
    BULK = 3


class ChannelMode(IntEnum):
    """How the channels of a notification relate (`clarion.notification.v1.ChannelMode`)."""

    ALL = 1
    FIRST_AVAILABLE = 2
    ESCALATE = 3


class EscalateUntil(IntEnum):
    """What makes the next channel of an escalation needless (`clarion.notification.v1.EscalateUntil`)."""

    DELIVERED = 1
    OPENED = 2
