"""What a broadcast owes its audience while people are merged and erased. No I/O.

Each recipient gets one child. Whoever stays gets it sent; of two that became one at least one was; of an erased one nothing
is sent once erasing it was acknowledged for a while.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clarion_kit.vocabulary import DeliveryState

AFTER_ERASURE_SECONDS = 1.25
"""Every call that begins a second after is held back (adr/0003); the look comes just before the call, and on a starved machine
there is a moment between. How long the provider then takes is its own affair."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One delivery of a child, with the moments (Unix seconds) at which a provider took it. `may_repeat`: a call was made whose
    answer nobody knows."""

    state: DeliveryState
    may_repeat: bool = False
    arrivals: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Audience:
    """Who was there when the broadcast began; what became of them meanwhile. `merged`: who goes, by who stays."""

    members: Collection[str]
    erased: Collection[str] = ()
    merged: Mapping[str, str] = field(default_factory=dict)


def complaints(audience: Audience, children: Mapping[str, Sequence[Sending]]) -> Iterator[str]:
    """Why the broadcast is no success, in words; `children`: deliveries of each recipient's child."""
    for what, whose in (
        ("without a child that was sent", _lost(audience, children)),
        ("whose child has not ended", _some(children, lambda one: not one.state.terminal)),
        (
            "whose child was called sent and is nowhere",
            _some(children, lambda one: one.state is DeliveryState.SENT and not one.arrivals),
        ),
        (
            "who got a child that the ledger knows nothing of",
            _some(
                children, lambda one: one.state is not DeliveryState.SENT and bool(one.arrivals) and not one.may_repeat
            ),
        ),
        (
            "who got a child twice without a word",
            _some(children, lambda one: len(one.arrivals) > 1 and not one.may_repeat),
        ),
    ):
        if whose:
            yield f"{len(whose)} recipients of the broadcast {what}, such as {whose[0]}"


def too_late(erased: Mapping[str, float], calls: Mapping[str, Sequence[float]]) -> list[str]:
    """Who was sent to although erased, with how long after (seconds). `erased`: when it was acknowledged, `calls`: when calls of
    providers for the recipient began, both Unix seconds."""
    late = {
        who: max((moment - acknowledged for moment in calls.get(who, ())), default=0.0)
        for who, acknowledged in erased.items()
    }
    return [f"{who} {after:.2f} s after" for who, after in sorted(late.items()) if after > AFTER_ERASURE_SECONDS]


def _lost(audience: Audience, children: Mapping[str, Sequence[Sending]]) -> list[str]:
    sent = {who for who, child in children.items() if any(one.state is DeliveryState.SENT for one in child)}
    became = {stays: goes for goes, stays in audience.merged.items()}
    owed = set(audience.members) - set(audience.erased) - audience.merged.keys()
    return sorted(who for who in owed if who not in sent and became.get(who) not in sent)


def _some(children: Mapping[str, Sequence[Sending]], wrong: Callable[[Sending], bool]) -> list[str]:
    return sorted(who for who, child in children.items() if any(wrong(one) for one in child))
