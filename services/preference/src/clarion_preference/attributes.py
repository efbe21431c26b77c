"""What an app knows of its recipients and their addresses."""

from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_ATTRIBUTES = 32


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. `filterable`: declared not personal, kept as it is; the others are sealed."""

    key: str
    value: str = field(repr=False)
    filterable: bool = False


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """What an app told of an address; `verified`: it made sure whose it is."""

    app_version: str = ""
    device_name: str = field(default="", repr=False)
    verified: bool = False


def joined(stays: Iterable[Attribute], goes: Iterable[Attribute]) -> tuple[Attribute, ...]:
    """Attributes of two recipients that become one: those of the one that stays, and of the other's, in the order of their
    keys, as many as there is room for."""
    kept = {attribute.key: attribute for attribute in stays}
    for attribute in sorted(goes, key=lambda one: one.key):
        if len(kept) < MAX_ATTRIBUTES:
            kept.setdefault(attribute.key, attribute)
    return tuple(kept.values())
