"""One SMPP session: a TCP connection bound as a transceiver (SMPP v3.4 §2)."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from clarion_channels.providers.smpp.codec import (
    MAX_SEQUENCE,
    BindTransceiver,
    BindTransceiverResp,
    BodyError,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    Framer,
    FramingError,
    GenericNack,
    Pdu,
    Request,
    Response,
    ShortMessage,
    Status,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    Unsupported,
    decode,
    encode,
)

_log = logging.getLogger(__name__)

_RESPONSE_BIT = 0x80000000
_MAX_INBOX = 1000
_RECEIPT_WORKERS = 8

Store = Callable[[bytes], Awaitable[None]]
"""Makes one deliver_sm durable, given as its bytes; returns once it is."""


class NotWritten(Exception):
    """The request did not leave: the session ended or is ending."""


class NoAnswer(Exception):
    """The request was written and no usable answer came."""


class BindRefused(Exception):
    """The SMSC answered the bind with this command_status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"bind refused: 0x{status:02X}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may have open, and how long it waits."""

    window: int
    response_timeout: timedelta
    enquire_link_interval: timedelta


class Session(asyncio.Protocol):
    """Open it with `open_session` and keep `run` running: it sends enquire_link and stores what is delivered.

    Requests of the SMSC are answered as they come, a deliver_sm only after `store` returned.
    """

    def __init__(self, limits: Limits, store: Store) -> None:
        self._timeout = limits.response_timeout.total_seconds()
        self._interval = limits.enquire_link_interval.total_seconds()
        self._store = store
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._window = asyncio.Semaphore(limits.window)
        self._load = 0
        self._sequence = 0
        self._pending: dict[int, asyncio.Future[Response | None]] = {}
        self._inbox: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(_MAX_INBOX)
        self._bound = False
        self._leaving = False
        self._ended = asyncio.Event()

    @property
    def usable(self) -> bool:
        """Bound, connected and not on its way out."""
        return self._bound and not self._leaving and not self._ended.is_set()

    @property
    def load(self) -> int:
        """Messages in the window or waiting for a place in it."""
        return self._load

    async def bind(self, system_id: str, password: str, system_type: str) -> None:
        """Bind as a transceiver. Raises `BindRefused`, `NotWritten`, `NoAnswer`."""
        response = await self._request(lambda sequence: BindTransceiver(sequence, system_id, password, system_type))
        if not isinstance(response, BindTransceiverResp | GenericNack):
            raise NoAnswer("the bind was answered with another command")
        if response.status != Status.OK or isinstance(response, GenericNack):
            raise BindRefused(response.status or Status.INVALID_COMMAND_ID)

    async def submit(self, message: ShortMessage, on_written: Callable[[], None]) -> SubmitSmResp | GenericNack:
        """Submit one segment once the window has room; `on_written` is called as it goes out.

        Raises `NotWritten`, `NoAnswer`, and `codec.CodecError` when the segment does not fit its fields.
        """
        self._load += 1
        try:
            async with self._window:
                if not self.usable:
                    raise NotWritten
                response = await self._request(lambda sequence: SubmitSm(sequence, message), on_written)
        finally:
            self._load -= 1
        if not isinstance(response, SubmitSmResp | GenericNack):
            raise NoAnswer("the submit_sm was answered with another command")
        return response

    async def enquire(self) -> None:
        """Ask whether the SMSC is there. Raises `NotWritten`, `NoAnswer`."""
        await self._request(EnquireLink)

    async def run(self) -> None:
        """Serve until the session has ended."""
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(self._store_deliveries()) for _ in range(_RECEIPT_WORKERS)]
            workers.append(tasks.create_task(self._keep_alive()))
            await self._ended.wait()
            for worker in workers:
                worker.cancel()

    async def unbind(self) -> None:
        """Take nothing new, wait for what is open, say goodbye, close: all within the response timeout."""
        self._leaving = True
        try:
            async with asyncio.timeout(self._timeout):
                if self._pending:
                    await asyncio.wait(list(self._pending.values()))
                await self._request(Unbind)
        except (TimeoutError, NotWritten, NoAnswer):
            _log.debug("the SMSC did not answer unbind")
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once; what is unanswered stays so. Idempotent."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's, so there is nothing to check at run time.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        # A peer that sends and does not read is not read either, or our answers would pile up.
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for pdu in self._framer.feed(data):
                self._receive(pdu)
        except FramingError as error:
            _log.warning("SMPP session dropped: %s", error)
            self.abort()

    def _receive(self, data: bytes) -> None:
        try:
            pdu = decode(data)
        except BodyError as error:
            _log.warning("malformed SMPP PDU 0x%08X: %s", error.command_id, error)
            if error.command_id & _RESPONSE_BIT:
                self._answer(error.sequence, None)
            else:
                self._write(GenericNack(error.sequence, Status.INVALID_COMMAND_LENGTH))
            return
        match pdu:
            case DeliverSm():
                self._deliver(pdu.sequence, data)
            case EnquireLink():
                self._write(EnquireLinkResp(pdu.sequence))
            case Unbind():
                self._leaving = True
                self._write(UnbindResp(pdu.sequence))
                self._close()
            case BindTransceiver() | SubmitSm():
                self._write(GenericNack(pdu.sequence, Status.INVALID_COMMAND_ID))
            case Unsupported():
                if not pdu.is_response:
                    self._write(GenericNack(pdu.sequence, Status.INVALID_COMMAND_ID))
            case DeliverSmResp():
                _log.debug("an answer to a deliver_sm that was never sent")
            case _:
                if isinstance(pdu, BindTransceiverResp) and pdu.status == Status.OK:
                    self._bound = True
                self._answer(pdu.sequence, pdu)

    def _deliver(self, sequence: int, data: bytes) -> None:
        try:
            self._inbox.put_nowait((sequence, data))
        except asyncio.QueueFull:
            self._write(DeliverSmResp(sequence, Status.TEMPORARY_APPLICATION_ERROR))

    async def _store_deliveries(self) -> None:
        while True:
            sequence, data = await self._inbox.get()
            self._write(DeliverSmResp(sequence, await self._store_one(data)))

    async def _store_one(self, data: bytes) -> Status:
        try:
            async with asyncio.timeout(self._timeout):
                await self._store(data)
        # The store is another's: whatever its fault, the SMSC must hear that it has to deliver again, and one receipt
        # must not end the session for all.
        except Exception as error:
            _log.warning("a deliver_sm could not be stored: %s", type(error).__name__)
            return Status.TEMPORARY_APPLICATION_ERROR
        return Status.OK

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.enquire()
            except (NotWritten, NoAnswer):
                _log.warning("SMPP session dropped: enquire_link was not answered")
                self.abort()
                return

    async def _request(self, build: Callable[[int], Request], on_written: Callable[[], None] | None = None) -> Response:
        sequence = self._next_sequence()
        data = encode(build(sequence))
        if self._transport is None or self._transport.is_closing():
            raise NotWritten
        answer: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self._pending[sequence] = answer
        try:
            self._transport.write(data)
            if on_written is not None:
                on_written()
            async with asyncio.timeout(self._timeout):
                response = await answer
        except TimeoutError:
            raise NoAnswer("no answer in time") from None
        finally:
            del self._pending[sequence]
        if response is None:
            raise NoAnswer("the session ended, or its answer could not be read")
        return response

    def _next_sequence(self) -> int:
        while True:
            self._sequence = self._sequence % MAX_SEQUENCE + 1
            if self._sequence not in self._pending:
                return self._sequence

    def _answer(self, sequence: int, response: Response | None) -> None:
        answer = self._pending.get(sequence)
        if answer is not None and not answer.done():
            answer.set_result(response)

    def _write(self, pdu: Pdu) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(pdu))

    def _close(self) -> None:
        """End after what is written went out."""
        self._end()
        if self._transport is not None:
            self._transport.close()

    def _end(self) -> None:
        self._ended.set()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_result(None)


async def open_session(
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    limits: Limits,
    store: Store,
    *,
    system_id: str,
    password: str,
    system_type: str,
) -> Session:
    """Connect and bind. Raises `OSError` (`TimeoutError`, `ssl.SSLError`), `BindRefused`, `NotWritten`, `NoAnswer`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(limits.response_timeout.total_seconds()):
        _, session = await loop.create_connection(lambda: Session(limits, store), host, port, ssl=tls)
        try:
            await session.bind(system_id, password, system_type)
        except BaseException:
            session.abort()
            raise
    return session
