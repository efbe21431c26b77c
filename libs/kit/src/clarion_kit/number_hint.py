"""What a sealed phone number still tells the planner: its country, and whether it begins with digits that are known.

The country of a number and its leading digits decide what an SMS costs, and to whom the money goes. The digits stand as
digests under the app's blind key, one for each length up to seven; the last four digits of a number, which tell people
apart, are in none of them. So a planner recognises a prefix that it looks for, and a database dump tells none.
"""

import base64
from dataclasses import dataclass

from clarion_kit.sealing import AppSealer

MAX_PREFIX_DIGITS = 7
"""Country code, network and a few digits more: what ranges of numbers are handed out by."""
NO_COUNTRY = "001"
"""Numbers of no country, such as satellite networks (libphonenumber's region of the whole world)."""
_OPEN_DIGITS = 4
_DIGEST_CHARACTERS = 6
"""36 bits: two of a million prefixes share a digest once in ten million looks."""


@dataclass(frozen=True, slots=True)
class NumberHint:
    """`prefixes`: the digests of a number's first digit, of its first two, and so on; never empty."""

    region: str
    prefixes: tuple[str, ...]

    @property
    def bucket(self) -> str:
        """Stands for all numbers that share the longest prefix with this one."""
        return self.prefixes[-1]


def prefix_digest(sealer: AppSealer, digits: str) -> str:
    """What stands for a prefix in the hints of an app."""
    digest = sealer.blind_index("phone prefix", digits.encode())
    return base64.urlsafe_b64encode(digest)[:_DIGEST_CHARACTERS].decode()


def make_hint(sealer: AppSealer, region: str, e164: str) -> str:
    """The hint of a number in E.164 with "+", of at least five digits; `region` as ISO 3166-1 alpha-2 or `NO_COUNTRY`."""
    digits = e164.removeprefix("+")
    longest = min(MAX_PREFIX_DIGITS, len(digits) - _OPEN_DIGITS)
    return f"{region}:" + "".join(prefix_digest(sealer, digits[:length]) for length in range(1, longest + 1))


def read_hint(hint: str) -> NumberHint | None:
    """None for a hint that says nothing of a number, as of one that was registered before there were hints."""
    region, colon, digests = hint.partition(":")
    if not colon or not digests or len(digests) % _DIGEST_CHARACTERS:
        return None
    starts = range(0, len(digests), _DIGEST_CHARACTERS)
    return NumberHint(region, tuple(digests[start : start + _DIGEST_CHARACTERS] for start in starts))
