"""Reference numbers of messages of several segments (3GPP TS 23.040 §9.2.3.24.1).

A phone puts segments together by sender, reference and total. A reference of 8 bits taken at random, or from an id, is the
one of another message to the same phone within minutes every now and then, and the phone mixes the two.
"""

import hashlib
import os
from array import array
from collections import OrderedDict
from uuid import UUID

from clarion_channels.text.segments import ReferenceBits

_COUNTERS = 1 << 16
MAX_UNFINISHED = 10_000


class References:
    """Counts up for each number, from a random start: what one process sends to a phone repeats a reference after 256
    messages at the earliest (65,536 with 16 bits).

    Numbers share counters by a keyed digest: 128 KiB whatever the traffic, and a table that gives no number away. A message
    of which only a part was taken keeps its reference for its next try, so that the phone is shown nothing twice.
    """

    def __init__(self, bits: ReferenceBits) -> None:
        self._mask = (1 << bits) - 1
        self._key = os.urandom(16)
        self._next = array("H", os.urandom(2 * _COUNTERS))
        self._unfinished: OrderedDict[UUID, int] = OrderedDict()

    def take(self, number: str, delivery_id: UUID) -> int:
        """The reference of a message to `number`: that of its last try if it was not finished, else a new one."""
        kept = self._unfinished.pop(delivery_id, None)
        if kept is not None:
            return kept
        digest = hashlib.blake2b(number.encode(), digest_size=2, key=self._key).digest()
        place = int.from_bytes(digest, "big")
        reference = self._next[place]
        self._next[place] = (reference + 1) & 0xFFFF
        return reference & self._mask

    def keep(self, delivery_id: UUID, reference: int) -> None:
        """The next try of this message is to complete what this one sent; the oldest of many make room."""
        self._unfinished[delivery_id] = reference
        if len(self._unfinished) > MAX_UNFINISHED:
            self._unfinished.popitem(last=False)
