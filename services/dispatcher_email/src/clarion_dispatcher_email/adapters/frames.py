"""Mail frames from the ledger, cached: they are immutable, and few are in use at a time."""

from collections import OrderedDict

from google.protobuf.message import DecodeError

from clarion.internal.content.v1.rendered_pb2 import MailFrame
from clarion_channels.mail.frame import CorruptFrame, verify_frame
from clarion_channels.mail.frames_source import FrameUnavailable
from clarion_kit.errors import Unavailable
from clarion_ledger import reading
from clarion_ledger.db import Pool, connection

CACHED = 256
"""Frames kept in memory; at 8-100 KB each this stays below 30 MB."""


class LedgerFrames:
    """A `FrameSource` over `ledger.frame`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._cached: OrderedDict[bytes, MailFrame] = OrderedDict()

    async def get(self, sha256: bytes) -> MailFrame:
        """Raises FrameUnavailable."""
        frame = self._cached.get(sha256)
        if frame is not None:
            self._cached.move_to_end(sha256)
            return frame
        frame = await self._load(sha256)
        self._cached[sha256] = frame
        if len(self._cached) > CACHED:
            self._cached.popitem(last=False)
        return frame

    async def _load(self, sha256: bytes) -> MailFrame:
        try:
            async with connection(self._pool) as db:
                stored = await reading.frame(db, sha256)
        except Unavailable as away:
            raise FrameUnavailable(str(away)) from away
        if stored is None:
            raise FrameUnavailable("no such frame")
        try:
            frame = MailFrame.FromString(stored)
            verify_frame(frame, sha256)
        except (DecodeError, CorruptFrame) as bad:
            raise FrameUnavailable("the stored frame is damaged") from bad
        return frame
