"""nats-py's client, kept from standing still with a connection that looks whole.

Its reader, its writer and its pinger are loops that end for good on what their authors did not foresee, while the client
goes on to say that it is connected: nothing is read any more, nothing notices, nothing connects again, and `flush` succeeds
without asking the server (tried with nats-py 2.16 and uvloop). The reader is easily hit: a `flush` that gave up leaves a
cancelled future behind, and the late PONG that belongs to it raises InvalidStateError. uvloop raises RuntimeError on a
transport that has just been closed, which ends the other two, or the task that connects again. And what the server says of
a connection that it ends (`-ERR 'Authorization Violation'`, when a password was replaced) ends the client for good.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable

from nats.aio.client import Client
from nats.errors import Error, UnexpectedEOF
from nats.protocol.parser import PERMISSIONS_ERR

log = logging.getLogger(__name__)


class SteadyClient(Client):
    """A PONG that nobody waits for any more is dropped; a loop that ends otherwise than with its connection asks for a new
    one, and so does an error that the server ends it with; connecting again goes on whatever happens to it.

    `tls`: asked for the context of each new connection.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        super().__init__()
        self._tls = tls

    @property
    def ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = self._tls() if self._tls is not None else super().ssl_context
        return context

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(Error(f"nats: {err_msg}"))

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _read_loop(self) -> None:
        await super()._read_loop()
        await self._ended(self._reading_task)

    async def _flusher(self) -> None:
        await super()._flusher()
        await self._ended(self._flusher_task)

    async def _ping_interval(self) -> None:
        await super()._ping_interval()
        await self._ended(self._ping_interval_task)

    async def _ended(self, loop: asyncio.Task[None] | None) -> None:
        """The task of an earlier connection is none of the client's loops any more; a client that connects already or was
        closed takes no notice."""
        if loop is asyncio.current_task():
            await self._process_op_err(UnexpectedEOF())

    async def _attempt_reconnect(self) -> None:
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
                return
            except Exception:  # nobody awaits this task: with it the client would end without a word
                log.exception("connecting again broke off")
                self._status = Client.RECONNECTING
            await asyncio.sleep(self.options["reconnect_time_wait"])
