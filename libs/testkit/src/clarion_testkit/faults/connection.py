"""One connection through the fault proxy."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from clarion_testkit.faults.shaping import Shape

_CHUNK_BYTES: Final = 16 * 1024
# Kept per direction; then the sender feels back-pressure, as on a real line.
_BUFFERED_CHUNKS: Final = 16
_DIAL_SECONDS: Final = 5.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Direction(Enum):
    """Which way bytes go."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class _End(Enum):
    """How a side ends what it says; travels behind its bytes, and as late as they do."""

    FIN = "fin"
    RST = "rst"


@dataclass(frozen=True, slots=True)
class _Sent:
    """What one side said, and when."""

    at: float
    what: bytes | _End


_Queue: TypeAlias = "asyncio.Queue[_Sent]"


class Trap:
    """Waits for a request in which `asked` appears, then for the first byte of the answer."""

    def __init__(self, asked: bytes) -> None:
        self.asked = asked
        self.closed = asyncio.Event()


@dataclass(slots=True)
class Line:
    """What all connections of a proxy share: where they lead, how both directions behave, what went through."""

    server: tuple[str, int]
    shapes: dict[Direction, Shape] = field(default_factory=lambda: {way: Shape() for way in Direction})
    bytes_through: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    trap: Trap | None = None


class _ReplyDropped(Exception):
    """The trap closed on this connection."""


class _Broken(Exception):
    """One side reset the connection."""


class Connection:
    """A client and, once dialled, the server's side of it."""

    def __init__(self, line: Line, client: socket.socket) -> None:
        self._line = line
        self._client = client
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._server.setblocking(False)
        self._server_abandoned = False
        self._asked: Trap | None = None

    async def run(self) -> None:
        """Forward until both sides have ended; both are closed when this returns or is cancelled."""
        try:
            await self._dial()
            async with asyncio.TaskGroup() as group:
                for way, source, target in (
                    (Direction.TO_SERVER, self._client, self._server),
                    (Direction.TO_CLIENT, self._server, self._client),
                ):
                    queue: _Queue = asyncio.Queue(_BUFFERED_CHUNKS)
                    group.create_task(self._read(way, source, queue))
                    group.create_task(self._write(way, target, queue))
        except* _Broken:
            self.reset_on_close()
        except* _ReplyDropped:
            pass
        finally:
            self._client.close()
            self._server.close()

    def reset_on_close(self) -> None:
        """Let both sides see RST, not FIN, when the connection is closed."""
        for end in (self._client, self._server):
            # Closed already, in the same turn of the loop.
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def abandon_server(self) -> None:
        """Close the server's side; from now on the client writes into the void."""
        self._server_abandoned = True
        # Not dialled yet: `_dial` comes back to it.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        # A SYN does not cross a blackhole either.
        await self._line.shapes[Direction.TO_SERVER].passes(loop.time(), 0.0)
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                await loop.sock_connect(self._server, self._line.server)
        except OSError as error:
            raise _Broken from error
        for end in (self._client, self._server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._server_abandoned:
            self.abandon_server()

    async def _read(self, way: Direction, source: socket.socket, queue: _Queue) -> None:
        loop = asyncio.get_running_loop()
        said: bytes | _End = b""
        while not isinstance(said, _End):
            try:
                said = await loop.sock_recv(source, _CHUNK_BYTES) or _End.FIN
            except OSError:
                said = _End.RST
            if isinstance(said, bytes):
                self._watch(way, said)
            await queue.put(_Sent(loop.time(), said))

    async def _write(self, way: Direction, target: socket.socket, queue: _Queue) -> None:
        loop = asyncio.get_running_loop()
        shape = self._line.shapes[way]
        free_at = 0.0
        heard = True
        while True:
            sent = await queue.get()
            if isinstance(sent.what, _End):
                await shape.passes(sent.at, free_at)
                return self._finish(way, target, sent.what)
            for piece in shape.pieces(sent.what):
                await shape.passes(sent.at, free_at)
                if not heard or self._server_abandoned:
                    break
                try:
                    await loop.sock_sendall(target, piece)
                except OSError:
                    # That the target is gone travels back by the other direction, as late as that one is.
                    heard = False
                    break
                free_at = loop.time() + shape.seconds_for(len(piece))
                self._line.bytes_through[way] += len(piece)

    def _finish(self, way: Direction, target: socket.socket, end: _End) -> None:
        if self._server_abandoned and way is Direction.TO_CLIENT:
            return
        if end is _End.RST:
            raise _Broken
        # Already closed on that side: nothing to tell it.
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _watch(self, way: Direction, said: bytes) -> None:
        trap = self._line.trap
        if trap is None:
            return
        if way is Direction.TO_SERVER:
            if trap.asked in said:
                self._asked = trap
        elif self._asked is trap:
            self._line.trap = None
            trap.closed.set()
            raise _ReplyDropped
