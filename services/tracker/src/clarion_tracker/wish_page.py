"""The preference page as rules: which switches somebody sees, and what follows from the ones they turned. No I/O.

A switch is named for its place: "nothing", "ios", "news/ios". A form sends the names of those that were on when it was
shown and of those that are on now, so that only what was turned is changed, whatever else happened in between.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clarion_kit.vocabulary import Channel

NOTHING = "nothing"
"""Opted out of everything."""
MAX_CATEGORIES = 60


@dataclass(frozen=True, slots=True)
class Offered:
    """A category of an app, as far as a recipient may choose. `critical`: choices do not count; `channels` empty: all."""

    name: str
    critical: bool = False
    opt_in_required: bool = False
    channels: frozenset[Channel] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants now. `channels`: those they have; `choices`: by category and channel (None: all)."""

    channels: tuple[Channel, ...]
    opted_out: bool
    channels_off: frozenset[Channel]
    choices: Mapping[tuple[str, Channel | None], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """One switch to turn; `channel` None: all channels, `category` empty: all categories."""

    channel: Channel | None
    category: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Switches of one category by channel, and whether each is on."""

    category: str
    switches: Mapping[Channel, bool]


@dataclass(frozen=True, slots=True)
class WishPage:
    """All switches. `always`: names of critical categories, which have none."""

    opted_out: bool
    channels: Mapping[Channel, bool]
    groups: tuple[Group, ...]
    always: tuple[str, ...]

    @property
    def on(self) -> list[str]:
        """The names of all that are on."""
        names = [NOTHING] if self.opted_out else []
        names += [channel.slug for channel, on in self.channels.items() if on]
        names += [
            name(group.category, channel) for group in self.groups for channel, on in group.switches.items() if on
        ]
        return names


def name(category: str, channel: Channel) -> str:
    """Of a category's switch."""
    return f"{category}/{channel.slug}"


def wish_page(wanted: Wanted, offered: Sequence[Offered]) -> WishPage:
    """What to show; at most sixty categories, by name."""
    first = sorted(offered, key=lambda category: category.name)[:MAX_CATEGORIES]
    groups = [
        Group(
            category.name,
            {
                channel: _is_on(wanted, category, channel)
                for channel in wanted.channels
                if not category.channels or channel in category.channels
            },
        )
        for category in first
        if not category.critical
    ]
    return WishPage(
        wanted.opted_out,
        {channel: channel not in wanted.channels_off for channel in wanted.channels},
        tuple(group for group in groups if group.switches),
        tuple(category.name for category in first if category.critical),
    )


def changes(page: WishPage, shown: Collection[str], on: Collection[str]) -> list[Change]:
    """What to turn so that what differs between `shown` and `on` holds. Names that the page has not are left out: a
    category may be gone since it was shown.

    A category that ends off (or on) on every channel is turned as a whole, so that it stays so on channels to come.
    """
    found: list[Change] = []
    if (NOTHING in shown) != (NOTHING in on):
        found.append(Change(None, "", NOTHING not in on))
    found += [
        Change(channel, "", channel.slug in on)
        for channel in page.channels
        if (channel.slug in shown) != (channel.slug in on)
    ]
    for group in page.groups:
        turned = {
            channel: name(group.category, channel) in on
            for channel in group.switches
            if (name(group.category, channel) in shown) != (name(group.category, channel) in on)
        }
        if not turned:
            continue
        after = {**group.switches, **turned}
        if len(set(after.values())) == 1:
            found.append(Change(None, group.category, next(iter(after.values()))))
        else:
            found += [Change(channel, group.category, enabled) for channel, enabled in turned.items()]
    return found


def _is_on(wanted: Wanted, category: Offered, channel: Channel) -> bool:
    on_channel = wanted.choices.get((category.name, channel))
    choice = wanted.choices.get((category.name, None)) if on_channel is None else on_channel
    return not category.opt_in_required if choice is None else choice
