"""Wishes and switches of requests as domain values, every fault named."""

from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.domain import ChoiceKey, Wishes
from clarion_preference.quiet import EVERY_DAY, QuietWindow

MAX_CHOICES = 100
MAX_WINDOWS = 14
_MINUTES_A_DAY = 1440


def read_wishes(faults: Faults, path: str, message: recipient.Wishes) -> Wishes:
    """Wishes with what is sound of them; the rest becomes faults under `path`."""
    with faults.within(f"{path}."):
        return Wishes(
            opted_out=message.opted_out,
            channels_off=_channels_off(faults, message),
            choices=_choices(faults, message),
            quiet_hours=_quiet_hours(faults, message.quiet_hours) if message.HasField("quiet_hours") else None,
            quiet_windows=_quiet_windows(faults, message),
            channel_order=_channel_order(faults, message),
        )


def read_channel(faults: Faults, field: str, number: int) -> Channel | None:
    """A channel, None if it is unspecified or at fault."""
    if number == 0:
        return None
    channel = Channel(number)
    return channel if faults.require(field, channel.known, "is not a known channel") else None


def _channels_off(faults: Faults, message: recipient.Wishes) -> frozenset[Channel]:
    channels: set[Channel] = set()
    for index, number in enumerate(message.channels_off):
        field = f"channels_off[{index}]"
        channel = read_channel(faults, field, number)
        if channel is not None:
            channels.add(channel)
        elif number == 0:
            faults.add(field, "required")
    return frozenset(channels)


def _choices(faults: Faults, message: recipient.Wishes) -> dict[ChoiceKey, bool]:
    choices: dict[ChoiceKey, bool] = {}
    if not faults.require("categories", len(message.categories) <= MAX_CHOICES, f"more than {MAX_CHOICES}"):
        return choices
    for index, choice in enumerate(message.categories):
        with faults.within(f"categories[{index}]."):
            faults.name("category", choice.category)
            key = (choice.category, read_channel(faults, "channel", choice.channel))
            faults.require("category", key not in choices, "chosen twice for the same channel")
            choices[key] = choice.enabled
    return choices


def _quiet_hours(faults: Faults, message: recipient.QuietHours) -> QuietWindow:
    with faults.within("quiet_hours."):
        _check_minutes(faults, message)
    return QuietWindow(message.start_minute, message.end_minute)


def _quiet_windows(faults: Faults, message: recipient.Wishes) -> tuple[QuietWindow, ...]:
    if not faults.require("quiet_windows", len(message.quiet_windows) <= MAX_WINDOWS, f"more than {MAX_WINDOWS}"):
        return ()
    windows: list[QuietWindow] = []
    for index, window in enumerate(message.quiet_windows):
        with faults.within(f"quiet_windows[{index}]."):
            _check_minutes(faults, window)
            weekdays = frozenset(window.weekdays)
            faults.require("weekdays", weekdays <= EVERY_DAY, "must be 1-7")
            faults.require("weekdays", len(weekdays) == len(window.weekdays), "must not repeat")
            channel = read_channel(faults, "channel", window.channel)
        windows.append(QuietWindow(window.start_minute, window.end_minute, weekdays or EVERY_DAY, channel))
    return tuple(windows)


def _channel_order(faults: Faults, message: recipient.Wishes) -> tuple[Channel, ...]:
    order: list[Channel] = []
    for index, number in enumerate(message.channel_order):
        field = f"channel_order[{index}]"
        channel = read_channel(faults, field, number)
        if channel is not None:
            faults.require(field, channel not in order, "must not repeat")
            order.append(channel)
        elif number == 0:
            faults.add(field, "required")
    return tuple(order)


def _check_minutes(faults: Faults, window: recipient.QuietHours | recipient.QuietWindow) -> None:
    for field, minute in (("start_minute", window.start_minute), ("end_minute", window.end_minute)):
        faults.require(field, minute < _MINUTES_A_DAY, "must be 0-1439")
    # An empty window and a whole day would look the same.
    faults.require("end_minute", window.end_minute != window.start_minute, "must differ from start_minute")
