"""Magic addresses: the answer is written in the address, so that a data set can carry its own dead tokens.

- Device tokens, registration tokens, web subscription ids: ``dead`` SSSV NN …: status and row of the provider's table,
  then how many requests get it before the address turns good (00 = all of them). SSSV 0000 hang, 0001 cut, 0002 lost,
  0003 lost and cut.
- Phone numbers: … ``999`` SSS N: code of the table, then the number of failures (0 = always). 900 hang, 901 cut,
  902 lost, 903 lost and cut.
- Mailboxes: ``bounce+CODE[-xN][+anything]@…`` with CODE ``550-5.1.1``, ``data-554-5.6.0``, ``hang``, ``cut``,
  ``lost``, ``lostcut``; N failures first, always without it.
"""

import re
from typing import NamedTuple

from .answers import Special

_TOKEN = re.compile(r"dead([0-9]{3}[0-9a-f])([0-9]{2})")
_NUMBER = re.compile(r"\+?[0-9]*999([0-9]{3})([0-9])")
_MAILBOX = re.compile(r"bounce\+([a-z0-9.\-]+?)(?:-x([0-9]{1,2}))?(?:\+[^@]*)?@.*", re.DOTALL)
_TOKEN_SPECIALS = {
    "0000": Special.HANG,
    "0001": Special.CUT,
    "0002": Special.LOST,
    "0003": Special.LOST_CUT,
}
_NUMBER_SPECIALS = {"900": Special.HANG, "901": Special.CUT, "902": Special.LOST, "903": Special.LOST_CUT}


class Magic(NamedTuple):
    """What an address asks for: a code of the answer table, and for how many requests (0 = always)."""

    code: str
    failures: int


def of_token(token: str) -> Magic | None:
    """What a push token or web subscription id asks for."""
    if not token.startswith("dead"):
        return None
    match = _TOKEN.match(token)
    if match is None:
        return None
    return Magic(_TOKEN_SPECIALS.get(match[1], match[1]), int(match[2]))


def of_number(number: str) -> Magic | None:
    """What a phone number asks for."""
    if number[-7:-4] != "999":
        return None
    match = _NUMBER.fullmatch(number)
    if match is None:
        return None
    return Magic(_NUMBER_SPECIALS.get(match[1], match[1]), int(match[2]))


def of_mailbox(mailbox: str) -> Magic | None:
    """What a mailbox asks for."""
    if not mailbox.startswith("bounce+"):
        return None
    match = _MAILBOX.fullmatch(mailbox)
    if match is None:
        return None
    return Magic(match[1], int(match[2] or 0))
