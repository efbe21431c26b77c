"""Webhooks of apps that take nothing any more. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from clarion_monitor.causes import safe
from clarion_monitor.domain import Kind, Reading

_WHY: Mapping[str, str] = {"failing": "every try failed for days", "gone": "its receiver says that it is gone"}


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """A webhook that a tracker switched off; `reason` is the tracker's word, perhaps of a newer version."""

    app_id: int
    webhook_id: int
    name: str
    reason: str
    age: timedelta


def off_readings(webhooks: Iterable[SwitchedOff]) -> list[Reading]:
    """One reading a webhook, passed from the start: nothing of it gets better until its owner acts."""
    return [
        Reading(
            f"webhook {one.webhook_id} switched off",
            one.age.total_seconds(),
            0,
            Kind.WEBHOOKS,
            f"the webhook {safe(one.name)} was switched off: {_WHY.get(one.reason) or safe(one.reason)}",
            "s",
            one.app_id,
            reached=True,
        )
        for one in webhooks
    ]
