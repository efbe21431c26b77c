"""What becomes of a request that passed every check: a scripted fault, a magic address, or nothing special."""

from collections.abc import Callable, Mapping

from . import magic
from .answers import AnswerTable, Fate
from .faults import FaultScript

_MAX_FLAKY_ADDRESSES = 100_000
_PARSERS: dict[str, Callable[[str], magic.Magic | None]] = {
    "apns": magic.of_token,
    "fcm": magic.of_token,
    "webpush": magic.of_token,
    "smpp": magic.of_number,
    "smtp": magic.of_mailbox,
    "ses": magic.of_mailbox,
    "sendgrid": magic.of_mailbox,
    "huawei": magic.of_token,
    "twilio": magic.of_number,
}


class Fates:
    """Decides request by request; remembers how often each flaky address failed."""

    def __init__(self, tables: Mapping[str, AnswerTable], script: FaultScript) -> None:
        self._tables = tables
        self._script = script
        self._failed: dict[tuple[str, str], int] = {}

    def latency(self, provider: str, destination: str = "") -> float:
        """Seconds to wait before the answer."""
        return self._script.latency(provider, destination)

    def decide(self, provider: str, destination: str) -> Fate | None:
        """What happens instead of success, None for success. Counts the request of a flaky address."""
        fate = self._script.strike(provider, destination)
        if fate is not None:
            return fate
        parse = _PARSERS.get(provider)
        asked = parse(destination) if parse is not None else None
        if asked is None:
            return None
        fate = self._tables[provider].find(asked.code)
        if fate is None or asked.failures == 0:
            return fate
        return fate if self._count(provider, destination) <= asked.failures else None

    def _count(self, provider: str, destination: str) -> int:
        key = (provider, destination)
        if key not in self._failed and len(self._failed) >= _MAX_FLAKY_ADDRESSES:
            # The oldest half starts over: flaky again, which a retry test tells at once; memory stays bounded.
            for old in list(self._failed)[: _MAX_FLAKY_ADDRESSES // 2]:
                del self._failed[old]
        self._failed[key] = self._failed.get(key, 0) + 1
        return self._failed[key]
