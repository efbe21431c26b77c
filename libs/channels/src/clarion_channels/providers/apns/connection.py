"""One HTTP/2 connection to APNs: aioapns' protocol, hardened."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from aioapns.connection import APNsTLSClientProtocol, AuthorizationHeaderProvider
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from clarion_channels.providers.apns.answer import Ending, reason_of
from clarion_channels.providers.apns.http2 import Http2, request_headers
from clarion_channels.providers.apns.payload import ApnsRequest

MAX_BODY_BYTES = 64 * 1024

_FORBIDDEN = "403"
_HTTPS_PORT = 443
_PING = b"clarion1"
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


@dataclass(eq=False, slots=True)
class Exchange:
    """One request on one stream, and what came back so far."""

    connection: "ApnsConnection"
    stream_id: int
    request: ApnsRequest
    authorization: str
    on_end: "OnEnd"
    sent_at: float
    unsent: bytes
    status: str = ""
    apns_id: str = ""
    body: bytes = b""


OnEnd = Callable[[Exchange, Ending, str], None]
"""Called exactly once for each exchange, with a cause where there is no answer; must not raise."""


class ApnsConnection(APNsTLSClientProtocol):
    """Sends without a future, task or timer per request; `OnEnd` tells the end of each exchange.

    Where it differs from aioapns 4.0: received DATA is acknowledged, resets and late answers end one exchange and not
    the connection, GOAWAY drains, any body is tolerated, payloads wait for the flow-control window, streams are
    counted against the peer's limit (1 with token auth until a first request was answered), the socket is written once
    per event-loop turn, and idleness leads to a PING rather than a new connection with a new provider token.
    """

    def __init__(
        self,
        host: str,
        port: int,
        auth_provider: AuthorizationHeaderProvider | None,
        max_streams: int,
        ping_seconds: float,
        on_change: "Callable[[ApnsConnection], None]",
    ) -> None:
        """`on_change` is called whenever capacity may have changed, the last time when the connection is lost."""
        super().__init__("", asyncio.get_running_loop(), None, auth_provider)
        self.conn: Http2 = Http2()
        self.ready = asyncio.Event()
        self.closed = asyncio.Event()
        self.retired = False
        self._authority = host if port == _HTTPS_PORT else f"{host}:{port}"
        self._max_streams = max_streams
        self._ping_seconds = ping_seconds
        self._on_change = on_change
        self._proven = auth_provider is None
        self._writable = True
        self._flush_scheduled = False
        self._next_stream_id = 1
        self._exchanges: dict[int, Exchange] = {}
        self._blocked: dict[int, Exchange] = {}
        self._heard_at = self.loop.time()
        self._ping_timer: asyncio.TimerHandle | None = None
        self._ping_open = False

    # --- what the pool asks -------------------------------------------------------------------------------------------

    @property
    def free_streams(self) -> int:
        """How many requests may be submitted now."""
        if self.retired or not self._writable or self._blocked or not self.ready.is_set():
            return 0
        limit = min(self._max_streams if self._proven else 1, self.conn.remote_settings.max_concurrent_streams)
        return max(0, limit - len(self._exchanges))

    @property
    def is_busy(self) -> bool:
        return self.free_streams == 0

    @property
    def is_warming(self) -> bool:
        """The first request is on its way; until it is answered the peer allows no second one."""
        return not self._proven and bool(self._exchanges) and not self.retired

    def submit(self, request: ApnsRequest, on_end: OnEnd) -> Exchange:
        """Open a stream for a request; only while `free_streams` > 0."""
        stream_id = self._next_stream_id
        authorization = self.auth_provider.get_header() if self.auth_provider else ""
        exchange = Exchange(self, stream_id, request, authorization, on_end, self.loop.time(), request.payload)
        self.conn.send_headers(stream_id, request_headers(request, self._authority, authorization))
        self.conn.opened()
        self._next_stream_id += 2
        self._exchanges[stream_id] = exchange
        self._send_body(exchange)
        self.flush()
        if self._next_stream_id > self.conn.HIGHEST_ALLOWED_STREAM_ID:
            self.retire()
        return exchange

    def abandon(self, exchange: Exchange, cause: str) -> None:
        """Stop waiting for an exchange; the others on the connection go on. Nothing happens if it has ended."""
        if exchange.stream_id not in self._exchanges:
            return
        if not self.closed.is_set():
            self.conn.reset_stream(exchange.stream_id, ErrorCodes.CANCEL)
            self.flush()
        self._end(exchange, _ending_without_more(exchange), cause)
        self._changed()

    def expire(self, exchange: Exchange) -> None:
        """`abandon` for a timeout.

        A peer that sent nothing at all since the request, or never opened its window for it, gets no further ones here.
        """
        if exchange.stream_id in self._exchanges and (self._heard_at <= exchange.sent_at or exchange.unsent):
            self.retire()
        self.abandon(exchange, "timeout")

    def retire(self) -> None:
        """Open no new streams; close once the open ones have ended."""
        self.retired = True
        self._changed()

    def close(self) -> None:
        """Say goodbye and close the socket; `connection_lost` ends what is open."""
        self.retired = True
        if self.transport is None or self.transport.is_closing():
            return
        with contextlib.suppress(ProtocolError):  # h2 may have closed it already, with its own GOAWAY in the buffer
            self.conn.close_connection()
        self._write()
        self.transport.close()

    def abort(self) -> None:
        """Close the socket without waiting for the peer."""
        self.retired = True
        if self.transport is not None:
            self.transport.abort()

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._ping_timer = self.loop.call_later(self._ping_seconds, self._ping_if_idle)

    def data_received(self, data: bytes) -> None:
        try:
            events = self.conn.receive_data(data)
        except ProtocolError:
            self.close()
            return
        if events:  # only whole frames are a sign of life: h2 gathers up to 16 MB of garbage as one frame
            self._heard_at = self.loop.time()
        for event in events:
            self._on_event(event)
        self.flush()
        self._changed()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.retired = True
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        for exchange in list(self._exchanges.values()):
            self._end(exchange, _ending_without_more(exchange), "connection_lost")
        self.ready.set()
        self.closed.set()
        self._on_change(self)

    def flush(self) -> None:
        """Write what is buffered at the end of this turn of the event loop, in one system call."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._write)

    def refresh_inactivity_timer(self) -> None:
        """Not used: aioapns arms a timer per frame here and closes after ten idle seconds."""

    # --- internals ----------------------------------------------------------------------------------------------------

    def _send_body(self, exchange: Exchange) -> None:
        while exchange.unsent:
            window = self.conn.local_flow_control_window(exchange.stream_id)
            part = exchange.unsent[: max(0, min(window, self.conn.max_outbound_frame_size))]
            if not part:
                self._blocked[exchange.stream_id] = exchange
                return
            exchange.unsent = exchange.unsent[len(part) :]
            self.conn.send_data(exchange.stream_id, part, end_stream=not exchange.unsent)
        self._blocked.pop(exchange.stream_id, None)

    def _on_event(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self._on_response(event)
            case DataReceived():
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                exchange = self._exchanges.get(event.stream_id)
                if exchange is not None and len(exchange.body) < MAX_BODY_BYTES:
                    exchange.body += event.data
            case StreamEnded():
                self._end_stream(event.stream_id, Ending.ANSWERED, "")
            case StreamReset():
                refused = event.error_code == ErrorCodes.REFUSED_STREAM
                ending = Ending.UNPROCESSED if refused else Ending.LOST
                self._end_stream(event.stream_id, ending, f"rst:{int(event.error_code or 0)}")
            case ConnectionTerminated():
                self._on_goaway(event)
            case RemoteSettingsChanged():
                self.ready.set()
                self._unblock()
            case WindowUpdated():
                self._unblock()
            case PingAckReceived():
                self._ping_open = False
            case _:
                pass

    def _on_response(self, event: ResponseReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        for name, value in event.headers:
            if name == b":status":
                exchange.status = value.decode("ascii", "replace")
            elif name == b"apns-id":
                exchange.apns_id = value.decode("ascii", "replace")
        if self.auth_provider is not None:
            # After a refused token the peer may allow a single stream again until one is accepted.
            self._proven = exchange.status != _FORBIDDEN

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        last = event.last_stream_id or 0
        cause = f"goaway:{reason_of(event.additional_data or b'') or int(event.error_code or 0)}"
        self.retired = True
        for exchange in [exchange for stream_id, exchange in self._exchanges.items() if stream_id > last]:
            self._end(exchange, Ending.UNPROCESSED, cause)

    def _unblock(self) -> None:
        for exchange in list(self._blocked.values()):
            self._send_body(exchange)

    def _end_stream(self, stream_id: int, ending: Ending, cause: str) -> None:
        exchange = self._exchanges.get(stream_id)
        if exchange is not None:
            self._end(exchange, Ending.ANSWERED if exchange.status else ending, cause)

    def _end(self, exchange: Exchange, ending: Ending, cause: str) -> None:
        del self._exchanges[exchange.stream_id]
        self._blocked.pop(exchange.stream_id, None)
        self.conn.forget(exchange.stream_id)
        exchange.on_end(exchange, ending, cause)

    def _changed(self) -> None:
        if self.retired and not self._exchanges:
            self.close()
        self._on_change(self)

    def _write(self) -> None:
        self._flush_scheduled = False
        data = self.conn.data_to_send()
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def _ping_if_idle(self) -> None:
        if self._ping_open:
            self.abort()
            return
        if self.loop.time() - self._heard_at >= self._ping_seconds:
            self._ping_open = True
            self.conn.ping(_PING)
            self.flush()
        self._ping_timer = self.loop.call_later(self._ping_seconds, self._ping_if_idle)


def _ending_without_more(exchange: Exchange) -> Ending:
    if exchange.status:
        return Ending.ANSWERED
    # Without its END_STREAM a request cannot have been acted on.
    return Ending.UNPROCESSED if exchange.unsent else Ending.LOST
