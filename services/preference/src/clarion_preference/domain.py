"""Wishes, and which gate they close: the rules, without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from clarion_kit.vocabulary import Channel, Gate, Reason
from clarion_preference.quiet import QuietWindow
from clarion_preference.suppressions import SuppressionReason

ChoiceKey = tuple[str, Channel | None]
"""A category's name and a channel; None: all channels."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a recipient wants. `choices`: wanted or not, by category and channel; `quiet_hours`: the one daily window that
    is told apart from `quiet_windows`; `channel_order`: the preferred channel first."""

    opted_out: bool = False
    channels_off: frozenset[Channel] = frozenset()
    choices: Mapping[ChoiceKey, bool] = field(default_factory=dict)
    quiet_hours: QuietWindow | None = None
    quiet_windows: tuple[QuietWindow, ...] = ()
    channel_order: tuple[Channel, ...] = ()

    @property
    def windows(self) -> tuple[QuietWindow, ...]:
        """All quiet hours."""
        return self.quiet_windows if self.quiet_hours is None else (self.quiet_hours, *self.quiet_windows)

    def choice(self, category: str, channel: Channel) -> bool | None:
        """The choice that holds for a category on a channel, None if none was made. One for the channel wins."""
        on_channel = self.choices.get((category, channel))
        return self.choices.get((category, None)) if on_channel is None else on_channel


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be sent, as far as wishes care."""

    category: str
    critical: bool = False
    opt_in_required: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate that closed, why, and the rule that closed it; the rule holds no personal data."""

    gate: Gate
    reason: Reason
    rule: str


_NO_ADDRESS = Closed(Gate.ADDRESS, Reason.NO_ADDRESS, "no usable address")
_OPTED_OUT = Closed(Gate.WISHES, Reason.OPTED_OUT, "opted out of everything")


def closed_gate(
    wishes: Wishes,
    question: Question,
    channel: Channel,
    *,
    reachable: bool,
    suppressed: SuppressionReason | None = None,
) -> Closed | None:
    """The first gate that closes for a channel, in the order of `Gate`; None if all are open.

    `reachable`: the recipient has a usable address of the channel; `suppressed`: why not, where one would be usable but
    for the suppression list. That list, opt-out, and channels that are off hold for critical categories too; choices of
    categories do not.
    """
    if not reachable and suppressed is not None:
        return Closed(Gate.SUPPRESSION_LIST, Reason.SUPPRESSION_LIST, suppressed.rule)
    if not reachable:
        return _NO_ADDRESS
    if wishes.opted_out:
        return _OPTED_OUT
    if channel in wishes.channels_off:
        return Closed(Gate.WISHES, Reason.CHANNEL_OFF, f"channel {channel.slug}: off")
    if question.critical:
        return None
    choice = wishes.choice(question.category, channel)
    if choice is None and question.opt_in_required:
        return Closed(Gate.WISHES, Reason.CATEGORY_OFF, f"category {question.category}: not chosen")
    if choice is False:
        return Closed(Gate.WISHES, Reason.CATEGORY_OFF, f"category {question.category}: off")
    return None


def switched(wishes: Wishes, channel: Channel | None, category: str, *, enabled: bool) -> Wishes:
    """Wishes after one switch: of a channel, of a category, of a category on one channel, or (neither) of everything.

    Switching a category on all channels drops its choices for single channels: they would win over the switch.
    """
    if not category and channel is None:
        return replace(wishes, opted_out=not enabled)
    if not category and channel is not None:
        channels_off = wishes.channels_off - {channel} if enabled else wishes.channels_off | {channel}
        return replace(wishes, channels_off=channels_off)
    kept = {key: wanted for key, wanted in wishes.choices.items() if channel is not None or key[0] != category}
    return replace(wishes, choices={**kept, (category, channel): enabled})
