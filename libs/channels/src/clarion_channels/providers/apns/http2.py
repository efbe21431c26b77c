"""The HTTP/2 state machine, tuned for a client that opens a stream per notification."""

from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, Event
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hyperframe.frame import Frame, GoAwayFrame

from clarion_channels.providers.apns.payload import ApnsRequest

Header = tuple[bytes | str, bytes | str]


class _PlainEncoder(Encoder):
    """Sends literals as they are: Huffman-coding a device token in Python costs more than the bytes it saves."""

    def encode(
        self,
        headers: Iterable[HeaderTuple | Header | tuple[bytes | str, bytes | str, bool | None]]
        | dict[bytes | str, bytes | str],
        huffman: bool = False,
    ) -> bytes:
        return super().encode(headers, huffman)


class Http2(H2Connection):
    """h2's connection with three changes.

    GOAWAY is only an event: h2 takes the connection for closed and raises on the answers of older streams that are
    still to come, which would turn a graceful GOAWAY into lost answers. Open streams are counted instead of searched
    for at every request. Headers are sent as given: they are ours, and already lower case.
    """

    def __init__(self) -> None:
        super().__init__(H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False))
        self.encoder = _PlainEncoder()
        self._open = 0

    @property
    def open_outbound_streams(self) -> int:
        return self._open

    def opened(self) -> None:
        """Count a stream whose headers were sent."""
        self._open += 1

    def forget(self, stream_id: int) -> None:
        """Free a stream that has ended; late frames of it are ignored, as h2 does."""
        self._open -= 1
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._closed_streams[stream_id] = stream.closed_by

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


def request_headers(request: ApnsRequest, authority: str, authorization: str) -> list[Header]:
    """The header list of a request; an empty authorization is left out.

    HPACK indexes what repeats (the provider token alone is 250 bytes). What is unique to one notification would push
    that out of the table, and a device token belongs in no table.
    """
    headers: list[Header] = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        NeverIndexedHeaderTuple(b":path", b"/3/device/" + request.device_token.encode()),
        (b":authority", authority.encode()),
        (b"apns-topic", (request.apns_topic or "").encode()),
        (b"apns-push-type", request.type_name.encode()),
        (b"apns-priority", str(request.priority).encode()),
        NeverIndexedHeaderTuple(b"apns-id", request.notification_id.encode()),
        NeverIndexedHeaderTuple(b"apns-expiration", str(request.expiration).encode()),
    ]
    if authorization:
        headers.append((b"authorization", authorization.encode()))
    if request.collapse_key:
        headers.append(NeverIndexedHeaderTuple(b"apns-collapse-id", request.collapse_key.encode()))
    return headers
