"""Answers about quiet hours, remembered: recipients of an app share few different windows and zones."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion_kit.vocabulary import Channel
from clarion_preference.places import zone
from clarion_preference.quiet import QuietWindow, quiet_from, quiet_until

_REMEMBERED = 4096
_UNCHANGED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class QuietAnswer:
    """Unix milliseconds; 0: it is not quiet, nothing begins. `until`: of windows of all channels; `by_channel`: of channels
    that have windows of their own, those of all channels included; `begins`: the next beginning on any channel."""

    until: int = 0
    by_channel: Mapping[int, int] | None = None
    begins: int = 0

    def on(self, channel: int) -> int:
        """The end on one channel."""
        return self.until if self.by_channel is None else self.by_channel.get(channel, self.until)


NEVER_QUIET = QuietAnswer()


class QuietAnswers:
    """An answer holds until the next beginning or end; it is worked out once until then, some 0.1 ms each."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[QuietWindow, ...], str], tuple[datetime, datetime, QuietAnswer]] = {}

    def answer(self, windows: tuple[QuietWindow, ...], zone_name: str, now: datetime) -> QuietAnswer:
        """`now` is aware."""
        if not windows:
            return NEVER_QUIET
        key = (windows, zone_name)
        known = self._known.get(key)
        if known is not None and known[0] <= now < known[1]:
            return known[2]
        answer, holds_until = _worked_out(windows, zone_name, now)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (now, holds_until, answer)
        return answer


def _worked_out(windows: tuple[QuietWindow, ...], zone_name: str, now: datetime) -> tuple[QuietAnswer, datetime]:
    """The answer, and until when it holds."""
    place = zone(zone_name)
    general = [window for window in windows if window.channel is None]
    until = quiet_until(general, place, now)
    channels: dict[Channel, datetime | None] = {
        channel: quiet_until([w for w in windows if w.channel in (None, channel)], place, now)
        for channel in {window.channel for window in windows if window.channel is not None}
    }
    begins = quiet_from(windows, place, now)
    changes = [moment for moment in (until, begins, *channels.values()) if moment is not None]
    answer = QuietAnswer(
        _milliseconds(until),
        {int(channel): _milliseconds(end) for channel, end in channels.items()} or None,
        _milliseconds(begins),
    )
    return answer, min(changes, default=now + _UNCHANGED)


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
