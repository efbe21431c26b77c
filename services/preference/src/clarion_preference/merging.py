"""Wishes of two recipients that turn out to be one person: the stricter wins."""

from clarion_kit.vocabulary import Channel
from clarion_preference.domain import ChoiceKey, Wishes


def stricter(stays: Wishes, goes: Wishes) -> Wishes:
    """What holds for both: off where either is off, quiet where either is quiet.

    A choice is an answer and having none is not: one that only one of them made holds. The order of channels is that of the
    one that stays, if it has one. There may be more choices and windows than one request may bring.
    """
    keys = {*stays.choices, *goes.choices}
    first = stays.quiet_hours if stays.quiet_hours is not None else goes.quiet_hours
    rest = dict.fromkeys((*stays.windows, *goes.windows))
    return Wishes(
        opted_out=stays.opted_out or goes.opted_out,
        channels_off=stays.channels_off | goes.channels_off,
        choices={key: _wanted(stays, key) is not False and _wanted(goes, key) is not False for key in keys},
        quiet_hours=first,
        quiet_windows=tuple(window for window in rest if window != first),
        channel_order=stays.channel_order or goes.channel_order,
    )


def _wanted(wishes: Wishes, key: ChoiceKey) -> bool | None:
    category, channel = key
    return wishes.choices.get(key) if channel is None else wishes.choice(category, Channel(channel))
