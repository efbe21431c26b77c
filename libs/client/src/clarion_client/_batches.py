"""Packs notifications and recipients into batches that the server takes. Pure."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from google.protobuf.message import Message

MAX_BATCH_ITEMS = 1_000
MessageT = TypeVar("MessageT", bound=Message)


class Packer(Generic[MessageT]):
    """Collects items; `add` gives a batch back when the new item does not fit into it any more.

    `max_bytes` bounds the serialised request. An item that is larger on its own gets a batch of its own: the refusal then
    belongs to it alone. No two items of a batch have the same `key`, where one is given.
    """

    def __init__(
        self, *, max_bytes: int, max_items: int = MAX_BATCH_ITEMS, key: Callable[[MessageT], str] | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._key = key
        self._items: list[MessageT] = []
        self._keys: set[str] = set()
        self._bytes = 0

    def add(self, item: MessageT) -> Sequence[MessageT] | None:
        size = encoded_size(item)
        key = self._key(item) if self._key is not None else None
        full = None
        too_much = len(self._items) == self._max_items or self._bytes + size > self._max_bytes
        if self._items and (too_much or key in self._keys):
            full = self.rest()
        self._items.append(item)
        self._bytes += size
        if key is not None:
            self._keys.add(key)
        return full

    def rest(self) -> Sequence[MessageT]:
        """What was collected since the last batch, maybe nothing."""
        items, self._items, self._keys, self._bytes = self._items, [], set(), 0
        return items


def encoded_size(item: Message) -> int:
    """Bytes of one element of a repeated message field below number 16: tag, length as varint, content
    (https://protobuf.dev/programming-guides/encoding/)."""
    content = item.ByteSize()
    return 1 + max(1, (content.bit_length() + 6) // 7) + content
