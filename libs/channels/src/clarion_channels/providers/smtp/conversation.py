"""Commands and replies of one connection (RFC 5321 §4.2), in order: what lets commands go out before the last was answered."""

import asyncio
from collections import deque
from typing import cast

from aiosmtplib.errors import SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.typing import SMTPStatus

from clarion_channels.providers.smtp.answers import Reply

_MAX_REPLY_BYTES = 64 << 10


class Conversation(asyncio.Protocol):
    """Takes over a connection that is set up. Whoever writes commands reads one reply for each of them.

    A server that says something unasked, or no SMTP, is not listened to any more.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's, so there is nothing to check at run time.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._replies: deque[Reply] = deque()
        self._owed = 0
        self._waiter: asyncio.Future[None] | None = None
        self._fault: Exception | None = None
        self._transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        return self._fault is None and not self._transport.is_closing()

    def write(self, data: bytes, replies: int) -> None:
        """Send what will be answered by so many replies. Raises `SMTPServerDisconnected`."""
        if self._transport.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        self._owed += replies
        self._transport.write(data)

    async def reply(self) -> Reply:
        """The next reply. Raises `SMTPServerDisconnected`, and `SMTPResponseException` for what is none."""
        while not self._replies:
            if self._fault is not None:
                raise self._fault
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._replies.popleft()

    def close(self) -> None:
        """Close once what was written is out. Idempotent."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without TLS's farewell: a silent peer could delay that for long. Idempotent."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        try:
            for line in lines:
                self._take(bytes(line))
            if len(rest) + sum(map(len, self._lines)) > _MAX_REPLY_BYTES:
                raise SMTPResponseException(SMTPStatus.invalid_response, "Response too long")
        except (SMTPResponseException, SMTPServerDisconnected) as fault:
            self._end(fault)
            self.abort()
        else:
            self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        lost = SMTPServerDisconnected("Connection lost")
        lost.__cause__ = exc
        self._end(lost)

    def _take(self, line: bytes) -> None:
        code = line[:3]
        if not (code.isdigit() and len(code) == 3):
            raise SMTPResponseException(SMTPStatus.invalid_response, "Malformed SMTP response line")
        if not self._owed:
            raise SMTPServerDisconnected("The server spoke unasked")
        self._lines.append(line[4:].strip(b" \t\r"))
        if line[3:4] != b"-":
            text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
            self._lines.clear()
            self._owed -= 1
            self._replies.append(Reply(int(code), text))

    def _end(self, fault: Exception) -> None:
        if self._fault is None:
            self._fault = fault
        self._tell()

    def _tell(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._replies or self._fault is not None):
            self._waiter.set_result(None)
