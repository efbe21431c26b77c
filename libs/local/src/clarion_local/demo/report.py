"""What a demonstration comes to: counts and the one line of JSON a machine reads. Arithmetic only."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clarion_client import JsonValue
from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason, Receipt
from clarion_ledger.audit import Audit
from clarion_local.demo.matching import Mismatch
from clarion_local.demo.scenes.scene import Told

_TERMINAL = (
    DeliveryState.SENT,
    DeliveryState.SUPPRESSED,
    DeliveryState.FAILED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
    DeliveryState.DEAD_LETTERED,
)


@dataclass(frozen=True, slots=True)
class DeliveryFact:
    """One delivery of the ledger. `seconds`: from the notification's acceptance to the delivery's terminal state."""

    delivery_id: str
    channel: Channel
    state: DeliveryState
    reason: Reason | None
    receipt: Receipt | None
    priority: Priority
    attempts: int
    ambiguous: bool
    kind: str
    message_id: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Funnel:
    """The deliveries of one channel. A delivery that was seen arrived, so `arrived` counts it as well."""

    states: Mapping[DeliveryState, int]
    reasons: Mapping[tuple[DeliveryState, Reason], int]
    arrived: int
    undelivered: int
    seen: int

    @property
    def deliveries(self) -> int:
        return sum(self.states.values())

    @property
    def in_flight(self) -> int:
        return sum(count for state, count in self.states.items() if not state.terminal)


def funnels(deliveries: Iterable[DeliveryFact]) -> dict[Channel, Funnel]:
    """A funnel for every channel, also for those without a delivery."""
    states: dict[Channel, Counter[DeliveryState]] = {channel: Counter() for channel in Channel}
    reasons: dict[Channel, Counter[tuple[DeliveryState, Reason]]] = {channel: Counter() for channel in Channel}
    receipts: dict[Channel, Counter[Receipt]] = {channel: Counter() for channel in Channel}
    for delivery in deliveries:
        states[delivery.channel][delivery.state] += 1
        if delivery.reason is not None:
            reasons[delivery.channel][delivery.state, delivery.reason] += 1
        if delivery.receipt is not None:
            receipts[delivery.channel][delivery.receipt] += 1
    return {
        channel: Funnel(
            states[channel],
            reasons[channel],
            arrived=sum(n for receipt, n in receipts[channel].items() if receipt >= Receipt.DELIVERED),
            undelivered=receipts[channel][Receipt.UNDELIVERED],
            seen=sum(n for receipt, n in receipts[channel].items() if receipt >= Receipt.SEEN),
        )
        for channel in Channel
    }


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles by nearest rank, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float


def spread(seconds: Sequence[float]) -> Spread | None:
    """None without a value."""
    if not seconds:
        return None
    ordered = sorted(seconds)

    def rank(percent: int) -> float:
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]

    return Spread(len(ordered), rank(50), rank(95), rank(99))


def first_try_seconds(deliveries: Iterable[DeliveryFact]) -> dict[Priority, list[float]]:
    """Acceptance to `sent` of deliveries that needed one attempt: what was retried measures the provider's outage."""
    found: dict[Priority, list[float]] = {priority: [] for priority in Priority}
    for delivery in deliveries:
        if delivery.state is DeliveryState.SENT and delivery.attempts == 1 and delivery.seconds is not None:
            found[delivery.priority].append(delivery.seconds)
    return found


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run. `wanted`: notifications handed in, those of the scenes included; `seconds`: the whole run,
    `ready_seconds` included."""

    wanted: int
    audit: Audit
    deliveries: Sequence[DeliveryFact] = field(repr=False)
    mismatch: Mismatch
    seconds: float
    ready_seconds: float
    scenes: Sequence[Told] = ()

    @property
    def faults(self) -> list[str]:
        """Why the run is no success, in words; empty: it is one."""
        found: list[str] = []
        if self.audit.accepted < self.wanted:
            found.append(f"{self.audit.accepted} of {self.wanted} notifications were accepted")
        if self.audit.in_flight:
            found.append(f"{self.audit.in_flight} are still in flight")
        if self.audit.unaccounted:
            found.append(f"the audit found {self.audit.unaccounted} contradictions: {self.audit.findings}")
        if self.mismatch.count:
            found.append(f"{self.mismatch.count} deliveries and provider messages do not match")
        found += [f"{scene.name}: {scene.fault}" for scene in self.scenes if scene.fault]
        return found

    def summary(self) -> dict[str, JsonValue]:
        """What the last line says: `accepted` counts notifications, everything else deliveries."""
        states = Counter(delivery.state for delivery in self.deliveries)
        summary: dict[str, JsonValue] = {"accepted": self.audit.accepted, "deliveries": len(self.deliveries)}
        summary |= {state.name.lower(): states[state] for state in _TERMINAL}
        return summary | {
            "in_flight": self.audit.in_flight,
            "unaccounted": self.audit.unaccounted,
            "provider_mismatch": self.mismatch.count,
            "seconds": round(self.seconds, 2),
            "ready_seconds": round(self.ready_seconds, 2),
            "scenes": {scene.name: dict(scene.facts) for scene in self.scenes},
            "channels": {
                channel.slug: {
                    "sent": funnel.states.get(DeliveryState.SENT, 0),
                    "delivered": funnel.arrived,
                    "seen": funnel.seen,
                }
                for channel, funnel in funnels(self.deliveries).items()
            },
        }
