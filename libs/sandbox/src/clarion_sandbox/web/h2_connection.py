"""One HTTP/2 connection of the fault listener: requests to the router, answers back, scripted faults in between."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import cast

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from clarion_sandbox.answers import Special
from clarion_sandbox.http2_faults import Manners, RequestFault

from .h2_frames import FaultyH2, goaway
from .http import Outcome, Reply, Request, json_reply

_MAX_BODY_BYTES = 16 << 20
_APNS = "/3/"
_EXCESS_REASON = "Maximum active streams violated"


@dataclass(slots=True)
class Service:
    """What every connection of the listener uses."""

    route: Callable[[Request], Awaitable[Outcome]]
    manners: Callable[[], Manners]
    fault: Callable[[str, int], RequestFault | None]
    run: Callable[[Coroutine[object, object, None]], None]
    """Owns the work for one request, which goes on when its connection is gone."""
    connections: "set[Connection]" = field(default_factory=set)


class _Fields:
    """Header fields by name; values of one name are joined."""

    def __init__(self, fields: Iterable[tuple[bytes | str, bytes | str]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in fields:
            key, text = str(name), str(value)
            self._values[key] = f"{self._values[key]}, {text}" if key in self._values else text

    def get(self, key: str, default: str | None = None, /) -> str | None:
        return self._values.get(key, default)


@dataclass(slots=True)
class _Stream:
    """A request that has no answer yet."""

    headers: _Fields
    body: bytearray = field(default_factory=bytearray)
    too_large: bool = False
    unsent: bytes = b""


class Connection(asyncio.Protocol):
    """Keeps a stream per request until its answer is written or a fault ends it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._manners = service.manners()
        self._h2 = FaultyH2(self._manners.first_streams, deaf=self._manners.deaf)
        self._limit = self._manners.first_streams
        self._streams: dict[int, _Stream] = {}
        self._ordinal = 0
        self._newest_taken = 0
        self._last_stream_id: int | None = None
        self._body_bytes = 0
        self._writable = True
        self._transport: asyncio.Transport

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != "h2":
            self._transport.abort()
            return
        self._service.connections.add(self)
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:  # h2 has its GOAWAY ready
            self._flush()
            self._transport.close()
            return
        for event in events:
            if self._transport.is_closing():
                return
            self._on_event(event)
        self._flush()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send_bodies()

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.clear()
        self._service.connections.discard(self)

    def cut(self) -> None:
        """End the connection without a word."""
        self._streams.clear()
        self._transport.abort()

    # --- requests -----------------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._open(event.stream_id, event.headers or [])
            case DataReceived():
                self._take_data(event.stream_id, event.data or b"", event.flow_controlled_length or 0)
            case StreamEnded():
                if event.stream_id in self._streams:
                    self._requested(event.stream_id, self._streams[event.stream_id])
            case StreamReset():
                self._forget(event.stream_id)
            case WindowUpdated() | RemoteSettingsChanged():
                self._send_bodies()
            case _:
                pass

    def _open(self, stream_id: int, headers: Iterable[tuple[bytes | str, bytes | str]]) -> None:
        if self._last_stream_id is not None and stream_id > self._last_stream_id:
            return  # sent before our GOAWAY was read; the client knows that nobody looks at it
        # A limit that was lowered holds once the client has acknowledged it.
        if len(self._streams) >= max(self._limit, self._h2.streams_allowed):
            self._exceeded(stream_id)
            return
        self._streams[stream_id] = _Stream(_Fields(headers))

    def _exceeded(self, stream_id: int) -> None:
        if self._manners.closes_on_excess:
            self._say_goaway(self._newest_taken, ErrorCodes.PROTOCOL_ERROR, _EXCESS_REASON)
            self._transport.close()
        else:
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)

    def _take_data(self, stream_id: int, data: bytes, flow_controlled_length: int) -> None:
        self._body_bytes += flow_controlled_length
        stalled = self._manners.stall_after_bytes is not None and self._body_bytes > self._manners.stall_after_bytes
        if not stalled:
            self._h2.acknowledge_received_data(flow_controlled_length, stream_id)
        stream = self._streams.get(stream_id)
        if stream is None or stream.too_large:
            return
        if len(stream.body) + len(data) > _MAX_BODY_BYTES:
            stream.too_large = True
            stream.body.clear()
        else:
            stream.body += data

    def _requested(self, stream_id: int, stream: _Stream) -> None:
        get = stream.headers.get
        path, _, query = (get(":path") or "/").partition("?")
        fault = self._service.fault(path, self._ordinal)
        self._ordinal += 1
        if fault is not None and fault.fault == "goaway":
            last = stream_id if fault.taken else self._newest_taken
            self._say_goaway(last, ErrorCodes[fault.error], fault.reason)
            for newer in [number for number in self._streams if number > last]:
                self._forget(newer)
            fault = None
        if stream_id not in self._streams:
            return
        if fault is not None and not fault.taken:
            self._strike(stream_id, fault)
            return
        self._newest_taken = max(self._newest_taken, stream_id)
        if stream.too_large:
            self._answer(stream_id, json_reply(413, {"error": "body too large"}))
            return
        request = Request(
            get(":method") or "",
            path,
            query,
            get(":authority") or "",
            stream.headers,
            bytes(stream.body),
        )
        self._service.run(self._serve(stream_id, request, fault))

    async def _serve(self, stream_id: int, request: Request, fault: RequestFault | None) -> None:
        outcome = await self._service.route(request)
        if stream_id not in self._streams or self._transport.is_closing():
            return  # reset by the client, or the connection is gone
        if fault is not None:
            self._strike(stream_id, fault)
        elif isinstance(outcome, Reply):
            self._answer(stream_id, outcome)
            if request.path.startswith(_APNS):
                self._adjust_streams(outcome.status)
        elif outcome is Special.CUT:
            self.cut()
        self._flush()

    def _strike(self, stream_id: int, fault: RequestFault) -> None:
        match fault.fault:
            case "reset":
                self._h2.reset_stream(stream_id, ErrorCodes[fault.error])
                self._forget(stream_id)
            case "cut":
                self.cut()
            case _:
                pass  # lost: the stream stays open

    # --- answers ------------------------------------------------------------------------------------------------------

    def _adjust_streams(self, status: int) -> None:
        """Apple's way: the usual limit once a provider token was accepted, the first one again when it was refused."""
        limit = {200: self._manners.streams, 403: self._manners.first_streams}.get(status, self._limit)
        if limit != self._limit:
            self._limit = limit
            self._h2.limit_streams(limit)

    def _answer(self, stream_id: int, reply: Reply) -> None:
        headers = [(":status", str(reply.status)), *((name.lower(), value) for name, value in reply.headers)]
        self._h2.send_headers(stream_id, headers, end_stream=not reply.body)
        if reply.body:
            self._streams[stream_id].unsent = reply.body
            self._send_body(stream_id)
        else:
            self._forget(stream_id)

    def _send_bodies(self) -> None:
        for stream_id in [number for number, stream in self._streams.items() if stream.unsent]:
            self._send_body(stream_id)
        self._flush()

    def _send_body(self, stream_id: int) -> None:
        stream = self._streams[stream_id]
        while self._writable:
            size = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            part, stream.unsent = stream.unsent[: max(0, size)], stream.unsent[max(0, size) :]
            if not part:
                return
            self._h2.send_data(stream_id, part, end_stream=not stream.unsent)
            if not stream.unsent:
                self._forget(stream_id)
                return
            self._flush()

    def _forget(self, stream_id: int) -> None:
        self._streams.pop(stream_id, None)
        self._close_when_done()

    def _say_goaway(self, last_stream_id: int, code: ErrorCodes, reason: str) -> None:
        self._flush()
        debug_data = json.dumps({"reason": reason}).encode() if reason else b""
        self._transport.write(goaway(last_stream_id, code, debug_data))
        self._last_stream_id = last_stream_id

    def _close_when_done(self) -> None:
        if self._last_stream_id is not None and not self._streams:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)
