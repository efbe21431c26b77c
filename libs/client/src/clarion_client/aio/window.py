"""What a stream has taken from its source and not been answered."""

import asyncio
from collections import deque

from clarion.notification.v1 import notification_service_pb2 as pb


class Window:
    """Oldest first, at most `size` items. The first `_written` of them are on the current connection; a new connection
    starts at the oldest again, which is safe because of event ids."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[pb.Notification] = deque()
        self._written = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, item: pb.Notification) -> None:
        """Takes an item in; waits while the window is full."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) < self._size)
            self._items.append(item)
            self._changed.notify_all()

    async def end(self) -> None:
        """No more items will come."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def rewind(self) -> None:
        """A new connection: everything unanswered is to be written again."""
        self._written = 0

    async def next_to_write(self) -> pb.Notification | None:
        """The oldest item that is not on the connection, once there is one; None at the end of the source."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._written < len(self._items) or self._ended)
            if self._written == len(self._items):
                return None
            self._written += 1
            return self._items[self._written - 1]

    async def oldest(self) -> pb.Notification | None:
        """The next item to be answered, once there is one; None when everything is answered and no more will come."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items) or self._ended)
            return self._items[0] if self._items else None

    async def answered(self) -> None:
        """The oldest item has its answer; there is room for another."""
        async with self._changed:
            self._items.popleft()
            self._written -= 1
            self._changed.notify_all()
