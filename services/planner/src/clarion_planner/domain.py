"""The rules of planning: which channels of a recipient become deliveries, and why the others do not. No I/O.

What is made for every delivery is a NamedTuple: a frozen dataclass takes four times as long to make.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from clarion_kit.vocabulary import Channel, Gate, Reason, Verdict
from clarion_ledger.rests import Rest

PUSH = frozenset({Channel.IOS, Channel.ANDROID, Channel.WEB})


@dataclass(frozen=True, slots=True)
class Escalation:
    """One channel after the other, `after` apart, until one is enough (`until`: an EscalateUntil)."""

    after: timedelta
    until: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Channels a notification asks for, in order. `explicit`: the client named them, so each gets an answer of its own;
    otherwise channels without an address or content are simply not meant. `first_only`: one channel is enough."""

    channels: tuple[Channel, ...]
    explicit: bool
    first_only: bool
    escalation: Escalation | None = None


class Closed(NamedTuple):
    """A gate that closed, and the rule that closed it (without personal data)."""

    gate: Gate
    reason: Reason
    rule: str = ""


class AddressRef(NamedTuple):
    """An address as the planner may know it: sealed. `hint` names the push service, for routing, or tells of
    a phone what budgets go by (clarion_kit.number_hint)."""

    address_id: bytes
    sealed: bytes
    hint: str = ""

    def __repr__(self) -> str:
        return f"AddressRef({self.address_id!r}, {self.hint!r})"


class ChannelFacts(NamedTuple):
    """What the preference service says of one channel: a closed gate or usable addresses. `quiet_until`: the end of the
    quiet hours that hold on it, None where none do."""

    closed: Closed | None
    addresses: tuple[AddressRef, ...] = ()
    quiet_until: datetime | None = None


class Recipient(NamedTuple):
    """A recipient as resolved; `channels` empty where it is unknown. `revision` grows with every change of it.
    `quiet_from`: when its next quiet hours begin; `channel_order`: its own, for notifications that name no channels."""

    ref: bytes
    found: bool
    locale: str = ""
    country: str = ""
    channels: Mapping[Channel, ChannelFacts] = MappingProxyType({})
    revision: int = 0
    time_zone: str = ""
    quiet_from: datetime | None = None
    channel_order: tuple[Channel, ...] = ()


class Content(NamedTuple):
    """Rendered content of one channel (a serialised Rendered), or why there is none."""

    rendered: bytes = b""
    failure: str = ""

    def __repr__(self) -> str:
        return f"Content({self.failure!r})"


class Candidate(NamedTuple):
    """A delivery that passed every gate but route and caps. `rest`: quiet hours defer it."""

    channel: Channel
    address: AddressRef
    content: Content
    rest: Rest | None = None


class Suppressed(NamedTuple):
    """A channel that will not be used."""

    channel: Channel
    closed: Closed


class GateNote(NamedTuple):
    """A gate that did not simply pass, for the delivery's record."""

    gate: Gate
    verdict: Verdict
    reason: Reason | None = None
    rule: str = ""


def channels_to_render(wanted: Wanted, recipient: Recipient) -> tuple[Channel, ...]:
    """Channels whose content decides something: those with an address, whatever the wishes say."""
    return tuple(channel for channel in wanted.channels if not _lacks_address(recipient.channels.get(channel)))


Quiet = Callable[[datetime | None], Closed | Rest | None]
"""What quiet hours that end then make of a delivery."""


def never_quiet(until: datetime | None) -> Closed | Rest | None:
    return None


def in_own_order(wanted: Wanted, recipient: Recipient) -> Wanted:
    """The recipient's order of channels, where the client named none."""
    if wanted.explicit or not recipient.channel_order:
        return wanted
    places = {channel: place for place, channel in enumerate(recipient.channel_order)}
    channels = sorted(wanted.channels, key=lambda channel: places.get(channel, len(places)))
    return replace(wanted, channels=tuple(channels))


def decide(
    wanted: Wanted, recipient: Recipient, contents: Mapping[Channel, Content | None], quiet: Quiet = never_quiet
) -> tuple[list[Candidate], list[Suppressed]]:
    """Candidates in the order of preference, and what is suppressed. At least one of the two is never empty."""
    if not recipient.found:
        closed = Closed(Gate.ADDRESS, Reason.RECIPIENT_UNKNOWN)
        return [], [Suppressed(channel, closed) for channel in _answered_for(wanted)]
    candidates: list[Candidate] = []
    suppressed: list[Suppressed] = []
    not_meant: list[Suppressed] = []
    for channel in wanted.channels:
        facts = recipient.channels.get(channel) or ChannelFacts(Closed(Gate.ADDRESS, Reason.NO_ADDRESS))
        content = contents.get(channel)
        if _lacks_address(facts):
            (suppressed if wanted.explicit else not_meant).append(_closed(channel, facts, Reason.NO_ADDRESS))
        elif content is None:
            missing = Suppressed(channel, Closed(Gate.RENDER, Reason.NO_CONTENT))
            (suppressed if wanted.explicit else not_meant).append(missing)
        elif facts.closed is not None:
            suppressed.append(Suppressed(channel, facts.closed))
        elif isinstance(hushed := quiet(facts.quiet_until), Closed):
            suppressed.append(Suppressed(channel, hushed))
        elif content.failure:
            suppressed.append(Suppressed(channel, Closed(Gate.RENDER, Reason.RENDER_FAILED, content.failure)))
        else:
            candidates += [Candidate(channel, address, content, hushed) for address in facts.addresses]
    if not candidates and not suppressed:
        suppressed = not_meant[:1]
    return candidates, suppressed


def keep_first_channel(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Suppressed]]:
    """FIRST_AVAILABLE: the candidates of the first channel stay, the other channels are not chosen."""
    if not candidates:
        return [], []
    chosen = candidates[0].channel
    others = dict.fromkeys(candidate.channel for candidate in candidates if candidate.channel is not chosen)
    closed = Closed(Gate.ADDRESS, Reason.CHANNEL_NOT_CHOSEN, f"{chosen.slug} serves")
    return [candidate for candidate in candidates if candidate.channel is chosen], [
        Suppressed(channel, closed) for channel in others
    ]


def _answered_for(wanted: Wanted) -> tuple[Channel, ...]:
    return wanted.channels if wanted.explicit else wanted.channels[:1]


def _lacks_address(facts: ChannelFacts | None) -> bool:
    return facts is None or (facts.closed is not None and facts.closed.gate is Gate.ADDRESS)


def _closed(channel: Channel, facts: ChannelFacts, reason: Reason) -> Suppressed:
    return Suppressed(channel, facts.closed or Closed(Gate.ADDRESS, reason))
