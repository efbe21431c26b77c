"""Packs notifications into batches that the server takes. Pure."""

from collections.abc import Sequence

from clarion.notification.v1 import notification_service_pb2 as pb

MAX_BATCH_ITEMS = 1_000


class Packer:
    """Collects items; `add` gives a batch back when the new item does not fit into it any more.

    `max_bytes` bounds the serialised SendBatchRequest. An item that is larger on its own gets a batch of its own: the
    refusal then belongs to it alone.
    """

    def __init__(self, *, max_bytes: int, max_items: int = MAX_BATCH_ITEMS) -> None:
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._items: list[pb.Notification] = []
        self._bytes = 0

    def add(self, item: pb.Notification) -> Sequence[pb.Notification] | None:
        size = encoded_size(item)
        full = None
        if self._items and (len(self._items) == self._max_items or self._bytes + size > self._max_bytes):
            full = self.rest()
        self._items.append(item)
        self._bytes += size
        return full

    def rest(self) -> Sequence[pb.Notification]:
        """What was collected since the last batch, maybe nothing."""
        items, self._items, self._bytes = self._items, [], 0
        return items


def encoded_size(item: pb.Notification) -> int:
    """Bytes of one element of a repeated message field below number 16: tag, length as varint, content
    (https://protobuf.dev/programming-guides/encoding/)."""
    content = item.ByteSize()
    return 1 + max(1, (content.bit_length() + 6) // 7) + content
