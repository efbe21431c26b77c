"""One SMPP connection of a client: framing, binds, answers in time."""

import asyncio
from typing import cast

from clarion_sandbox.answers import Special

from .centre import MessageCentre, Verdict
from .codec import (
    RESPONSE,
    Command,
    FrameError,
    Pdu,
    PduError,
    Status,
    c_octets,
    decode_bind,
    decode_submit,
    encode,
    take_pdus,
)

_IDLE_SECONDS = 120.0
_MAX_DELAYED = 10_000
_MAX_SEQUENCE = 0x7FFFFFFF
_BINDS = frozenset((Command.BIND_RECEIVER, Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER))


class SmppSession(asyncio.Protocol):
    """The protocol object of one connection."""

    def __init__(self, centre: MessageCentre, sessions: "set[SmppSession]") -> None:
        self._centre = centre
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._sequence = 0
        self._delayed: set[asyncio.TimerHandle] = set()
        self._heard = self._loop.time()
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._sessions.add(self)
        self._watch_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        self._sessions.discard(self)
        self._centre.leave(self)
        if self._idle is not None:
            self._idle.cancel()
        for timer in self._delayed:
            timer.cancel()
        self._delayed.clear()

    def pause_writing(self) -> None:
        """The client does not read: its requests wait."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._heard = self._loop.time()
        self._buffer += data
        try:
            pdus = take_pdus(self._buffer)
        except FrameError:
            self._write(encode(Command.GENERIC_NACK, Status.INVALID_COMMAND_LENGTH, 0))
            self.close()
            return
        for pdu in pdus:
            if self._transport is None or self._transport.is_closing():
                # Cut or unbound by an earlier PDU of the same read: the rest never arrived.
                return
            self._handle(pdu)

    def send_deliver(self, body: bytes) -> int:
        """Write a deliver_sm; gives its sequence number."""
        self._sequence = self._sequence % _MAX_SEQUENCE + 1
        self._write(encode(Command.DELIVER_SM, Status.OK, self._sequence, body))
        return self._sequence

    def close(self) -> None:
        """Flush and close."""
        if self._transport is not None:
            self._transport.close()

    def _handle(self, pdu: Pdu) -> None:
        command = pdu.command
        if command == Command.SUBMIT_SM:
            self._submit(pdu)
        elif command == Command.DELIVER_SM | RESPONSE:
            self._centre.receipt_answered(self, pdu.sequence, pdu.status)
        elif command == Command.ENQUIRE_LINK:
            self._write(encode(command | RESPONSE, Status.OK, pdu.sequence))
        elif command in _BINDS:
            self._bind(pdu)
        elif command == Command.UNBIND:
            self._centre.leave(self)
            self._write(encode(command | RESPONSE, Status.OK, pdu.sequence))
            self.close()
        elif not command & RESPONSE:
            self._write(encode(Command.GENERIC_NACK, Status.INVALID_COMMAND_ID, pdu.sequence))

    def _bind(self, pdu: Pdu) -> None:
        try:
            status = self._centre.bind(self, pdu.command, decode_bind(pdu.body))
        except PduError as error:
            status = error.status
        body = c_octets("CLARION") if status is Status.OK else b""
        self._write(encode(pdu.command | RESPONSE, status, pdu.sequence, body))
        if status is Status.OK:
            self._centre.bound(self)

    def _submit(self, pdu: Pdu) -> None:
        if not self._centre.may_submit(self):
            self._answer(pdu.sequence, Verdict(Status.INVALID_BIND_STATUS, "", 0.0))
            return
        if len(self._delayed) >= _MAX_DELAYED:
            self._answer(pdu.sequence, Verdict(Status.THROTTLED, "", 0.0))
            return
        try:
            verdict = self._centre.submit(self, decode_submit(pdu.body))
        except PduError as error:
            verdict = Verdict(error.status, "", 0.0)
        if verdict.latency_seconds:
            self._later(verdict.latency_seconds, pdu.sequence, verdict)
        else:
            self._answer(pdu.sequence, verdict)

    def _later(self, seconds: float, sequence: int, verdict: Verdict) -> None:
        def answer() -> None:
            self._delayed.discard(timer)
            self._answer(sequence, verdict)

        timer = self._loop.call_later(seconds, answer)
        self._delayed.add(timer)

    def _answer(self, sequence: int, verdict: Verdict) -> None:
        if verdict.silence is Special.CUT:
            if self._transport is not None:
                self._transport.abort()
        elif verdict.silence is None:
            body = c_octets(verdict.message_id) if verdict.status == Status.OK else b""
            self._write(encode(Command.SUBMIT_SM | RESPONSE, verdict.status, sequence, body))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _watch_idle(self) -> None:
        quiet = self._loop.time() - self._heard
        if quiet >= _IDLE_SECONDS:
            self.close()
        else:
            self._idle = self._loop.call_later(_IDLE_SECONDS - quiet, self._watch_idle)
