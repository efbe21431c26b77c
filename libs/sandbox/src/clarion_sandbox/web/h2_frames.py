"""h2's server side, made able to misbehave."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame, PingFrame

MAX_HEADER_BYTES = 16 << 10


class FaultyH2(H2Connection):
    """A server's connection that counts streams over the limit instead of failing, and may leave PINGs unanswered."""

    def __init__(self, streams: int, *, deaf: bool) -> None:
        super().__init__(H2Configuration(client_side=False, header_encoding="utf-8"))
        # What the constructor has goes out with the first SETTINGS and holds at once; later ones when acknowledged.
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
            },
        )
        self._deaf = deaf

    @property
    def open_inbound_streams(self) -> int:
        """None, for h2, which would end the connection over one too many: what that brings is the script's business."""
        _ = super().open_inbound_streams  # frees the streams that have ended
        return 0

    @property
    def streams_allowed(self) -> int:
        """The stream limit that the client has acknowledged."""
        return self.local_settings.max_concurrent_streams

    def limit_streams(self, streams: int) -> None:
        """Tell the client another limit."""
        self.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})

    def _receive_ping_frame(self, frame: PingFrame) -> tuple[list[Frame], list[Event]]:
        if self._deaf:
            return [], []
        return super()._receive_ping_frame(frame)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        # h2 would take the connection for closed and forbid the answers that the client still waits for.
        return [], []


def goaway(last_stream_id: int, code: int, debug_data: bytes) -> bytes:
    """A GOAWAY frame for the wire: one sent through h2 would forbid the answers that older streams still get."""
    return GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code, additional_data=debug_data).serialize()
