"""A TCP proxy between a client and a server of the test, whose network fails on demand."""

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from clarion_local.ports import LOOPBACK
from clarion_testkit.faults.connection import Connection, Direction, Line, Trap
from clarion_testkit.faults.tool import Tool

_BACKLOG: Final = 512


class FaultProxy(Tool):
    """Forwards connections on a loopback port to `server_port`, well or badly.

    States last until `heal` and may be combined: `delay`, `throttle`, `blackhole`, `refuse`. Acts hit the connections
    that are open at that moment: `reset`, `half_open`. `drop_next_reply` is a trap. At most 256 KiB per connection and
    direction wait inside. A connection whose server cannot be dialled is accepted and then reset.
    """

    def __init__(self, server_port: int, *, server_host: str = LOOPBACK) -> None:
        self._line = Line((server_host, server_port))
        self._accepted = 0
        self._port: int | None = None
        self._place: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1; it stays through refusals and repointing. Raises RuntimeError before the
        start."""
        if self._port is None:
            raise RuntimeError("the proxy has no port before it starts")
        return self._port

    @property
    def accepted(self) -> int:
        """Connections accepted so far."""
        return self._accepted

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def bytes_through(self) -> Mapping[Direction, int]:
        """Bytes handed on so far, by direction."""
        return MappingProxyType(self._line.bytes_through)

    async def start(self) -> None:
        """Listen. Raises OSError when no port is free."""
        # A bound socket that never listens keeps the port ours while connections are refused.
        self._place = _bound(0)
        self._port = self._place.getsockname()[1]
        self._listen()

    async def stop(self) -> None:
        await self._close_listener()
        await self._end_connections()
        if self._place is not None:
            self._place.close()

    def heal(self) -> None:
        """Pass everything at once; what a blackhole held back arrives, as after a fault of routing."""
        for shape in self._line.shapes.values():
            shape.release()
        if self._listener is None:
            self._listen()

    def delay(self, seconds: float, *ways: Direction) -> None:
        """Each byte arrives `seconds` after it was sent, in order, with at most 256 KiB under way. Both ways unless told."""
        for way in ways or Direction:
            self._line.shapes[way].set_delay(seconds)

    def throttle(self, bytes_per_second: float, *ways: Direction) -> None:
        """Each connection passes at most so much. Both ways unless told. Raises ValueError for a rate not above 0."""
        if bytes_per_second <= 0:
            raise ValueError("the rate must be above 0; blackhole() is what passes nothing")
        for way in ways or Direction:
            self._line.shapes[way].set_rate(bytes_per_second)

    def blackhole(self, *ways: Direction) -> None:
        """Nothing arrives any more, not even the end of a connection. Both ways unless told.

        New connections are still accepted, as the kernel does, and lead nowhere. Bytes are held and not dropped: TCP
        would send them again, so a connection is whole when it is healed.
        """
        for way in ways or Direction:
            self._line.shapes[way].hold()

    async def refuse(self) -> None:
        """Refuse new connections until healed; open ones stay."""
        await self._close_listener()

    async def reset(self) -> None:
        """End every open connection with RST to both sides."""
        for connection in self._connections:
            connection.reset_on_close()
        await self._end_connections()

    def half_open(self) -> None:
        """Close the server's side of every open connection; its client hears nothing of it and may go on writing."""
        for connection in self._connections:
            connection.abandon_server()

    def drop_next_reply(self, asked: bytes = b"") -> asyncio.Event:
        """Let the next request through, then close its connection at the first byte of the answer, unseen.

        Any bytes of a client are a request; with `asked`, only those in which it appears, in clear text and within one
        read of 16 KiB. Gives an event that is set when it has happened; a later call replaces a trap that still waits.
        """
        self._line.trap = Trap(asked)
        return self._line.trap.closed

    async def repoint(self, server_port: int, *, server_host: str = LOOPBACK) -> None:
        """Lead new connections to another server and reset those to the old one."""
        self._line.server = (server_host, server_port)
        await self.reset()

    def _listen(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(_BACKLOG)
        self._accepting = asyncio.create_task(self._accept(self._listener), name=f"fault proxy {self.port}")

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            self._accepted += 1
            connection = Connection(self._line, client)
            task = asyncio.create_task(connection.run(), name=f"{self._accepted} of fault proxy {self.port}")
            self._connections[connection] = task
            task.add_done_callback(partial(self._forget, connection))

    def _forget(self, connection: Connection, _: asyncio.Task[None]) -> None:
        del self._connections[connection]

    async def _close_listener(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _end_connections(self) -> None:
        tasks = list(self._connections.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Lets the socket that listens share the port with the one that keeps it.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
