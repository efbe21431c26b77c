"""Wishes and switches of requests as domain values, every fault named."""

from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.domain import ChoiceKey, QuietHours, Wishes

MAX_CHOICES = 100
_MINUTES_A_DAY = 1440


def read_wishes(faults: Faults, path: str, message: recipient.Wishes) -> Wishes:
    """Wishes with what is sound of them; the rest becomes faults under `path`."""
    with faults.within(f"{path}."):
        return Wishes(
            opted_out=message.opted_out,
            channels_off=_channels_off(faults, message),
            choices=_choices(faults, message),
            quiet_hours=_quiet_hours(faults, message.quiet_hours) if message.HasField("quiet_hours") else None,
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


def _quiet_hours(faults: Faults, message: recipient.QuietHours) -> QuietHours:
    with faults.within("quiet_hours."):
        for field, minute in (("start_minute", message.start_minute), ("end_minute", message.end_minute)):
            faults.require(field, minute < _MINUTES_A_DAY, "must be 0-1439")
        # An empty window and a whole day would look the same.
        faults.require("end_minute", message.end_minute != message.start_minute, "must differ from start_minute")
    return QuietHours(message.start_minute, message.end_minute)
