"""A small SMSC for tests of what comes back: takes text messages, sends receipts of them and what people write.

It speaks SMPP 3.4 by its own hand, so that it shares no mistake with the provider it is met by.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_SUBMIT, _DELIVER, _RESPONSE = 0x04, 0x05, 0x80000000
_BIND = 0x09
_ACKNOWLEDGED = _DELIVER | _RESPONSE


@dataclass(slots=True)
class Smsc:
    """`stat` and `err` go into the receipts of what is taken from now on; `status` refuses everything, unless it is 0.
    `acknowledged`: how many deliver_sm were answered with OK."""

    port: int = 0
    stat: str = "DELIVRD"
    err: str = "000"
    status: int = 0
    taken: int = 0
    acknowledged: int = 0
    bound: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _writer: asyncio.StreamWriter | None = None

    async def write(self, number: str, text: str) -> None:
        """What a person sends to us; returns once it was acknowledged."""
        await self.bound.wait()
        before = self.acknowledged
        self._deliver(0, number, text)
        await self.until_acknowledged(before + 1)

    async def until_acknowledged(self, count: int) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.acknowledged >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the other end leaves."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                header = await reader.readexactly(16)
                length, command, status, sequence = (int.from_bytes(header[at : at + 4]) for at in range(0, 16, 4))
                await reader.readexactly(length - 16)
                if command == _BIND:
                    self._answer(writer, command, sequence, b"smsc\0")
                    self._writer = writer
                    self.bound.set()
                elif command == _SUBMIT:
                    self._take(writer, sequence)
                elif command == _ACKNOWLEDGED and status == 0:
                    async with self._changed:
                        self.acknowledged += 1
                        self._changed.notify_all()
                elif not command & _RESPONSE:
                    self._answer(writer, command, sequence, b"")
        writer.close()

    def _take(self, writer: asyncio.StreamWriter, sequence: int) -> None:
        if self.status:
            self._answer(writer, _SUBMIT, sequence, b"", self.status)
            return
        self.taken += 1
        id_ = f"{id(self) & 0xFFFF:x}-{self.taken}"
        self._answer(writer, _SUBMIT, sequence, id_.encode() + b"\0")
        text = f"id:{id_} sub:001 dlvrd:001 submit date:2603011230 done date:2603011231 stat:{self.stat} err:{self.err} text:"
        self._deliver(4, "821012345678", text)

    def _deliver(self, esm_class: int, number: str, text: str) -> None:
        if self._writer is None:
            raise RuntimeError("nobody is bound")
        source = b"\1\1" + number.removeprefix("+").encode() + b"\0"
        fixed = bytes([esm_class, 0, 0]) + b"\0\0" + bytes([0, 0, 0, 0])
        body = b"\0" + source + b"\5\0Shop\0" + fixed + bytes([len(text)]) + text.encode("ascii")
        self._write(self._writer, _DELIVER, 0, 1_000 + self.taken, body)

    def _answer(self, writer: asyncio.StreamWriter, command: int, sequence: int, body: bytes, status: int = 0) -> None:
        self._write(writer, command | _RESPONSE, status, sequence, body)

    def _write(self, writer: asyncio.StreamWriter, command: int, status: int, sequence: int, body: bytes) -> None:
        fields = (16 + len(body), command, status, sequence)
        writer.write(b"".join(number.to_bytes(4) for number in fields) + body)


@asynccontextmanager
async def smsc() -> AsyncIterator[Smsc]:
    """A running one on loopback."""
    made = Smsc()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.port = server.sockets[0].getsockname()[1]
        yield made
