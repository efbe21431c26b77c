"""`client.deliveries`: a stream of changes that outlives its connections."""

from collections.abc import Generator, Iterable
from contextlib import closing
from datetime import timedelta

from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_client._resuming import OUTAGE, as_lost, ended_empty, read_too_slowly
from clarion_client.calls.deliveries import WATCH, watch_request
from clarion_client.enums import Channel
from clarion_client.errors import ClarionError
from clarion_client.sync.core import SyncCore

_LONGEST = timedelta(seconds=60)
"""Of one connection: a thread cannot wait for a sign of life, so a server that hangs is left after it."""


class Deliveries:
    """`client.deliveries`"""

    def __init__(self, core: SyncCore) -> None:
        self._core = core

    def watch(
        self,
        cursor: str = "",
        *,
        channels: Iterable[Channel] = (),
        kinds: Iterable["notification_service_pb2.EventKind.ValueType"] = (),
        states: Iterable["state_pb2.DeliveryState.ValueType"] = (),
        categories: Iterable[str] = (),
        notification_ids: Iterable[str] = (),
        recipient_id: str = "",
        outage: timedelta = OUTAGE,
    ) -> "Watch":
        """Changes from `cursor` on (empty: from now), without end: `for change in client.deliveries.watch(): …`.

        Nothing is left out and nothing comes twice, also when connections, gateways and trackers come and go; after
        `outage` without any answer the last error is raised. Keep `change.cursor`, or the watch's `cursor`, with what you
        made of it. Iterating raises InvalidArgument (INVALID_FIELD, CATEGORY_NOT_FOUND, CURSOR_INVALID),
        FailedPrecondition (CURSOR_EXPIRED: begin anew without one), PermissionDenied, Unauthenticated, Unavailable.
        """
        request = watch_request(cursor, channels, kinds, states, categories, notification_ids, recipient_id)
        return Watch(self._core, request, outage)

    def cursor(self) -> str:
        """Now: a watch from this cursor on tells what happens after this call. Raises as a watch does."""
        with closing(self.watch().answers()) as answers:
            return next(answers).cursor


class Watch:
    """Changes as they come. Iterate it once; close the iterator (`contextlib.closing`) if you stop early."""

    def __init__(self, core: SyncCore, request: pb.WatchDeliveriesRequest, outage: timedelta) -> None:
        self._core = core
        self._request = request
        self._outage = outage

    @property
    def cursor(self) -> str:
        """Everything up to here was taken: the change before the one in hand, or later where nothing else passed the
        filter. Empty before the first answer."""
        return self._request.cursor

    def __iter__(self) -> Generator[pb.WatchDeliveriesResponse, None, None]:
        with closing(self.answers()) as answers:
            for answer in answers:
                if answer.HasField("entry"):
                    yield answer

    def answers(self) -> Generator[pb.WatchDeliveriesResponse, None, None]:
        """Every answer, also those that hold nothing but a fresh cursor: the first one does."""
        attempts = self._core.patience(self._outage)
        while True:
            answered = False
            try:
                for response in self._core.stream(WATCH, self._request, attempts, _LONGEST):
                    answered = True
                    yield response
                    self._request.cursor = response.cursor
                if not answered:
                    raise ended_empty()
            except ClarionError as error:
                if answered:
                    attempts = self._core.patience(self._outage)
                if not read_too_slowly(error):
                    self._core.before_retry(attempts, as_lost(error))
            else:
                attempts = self._core.patience(self._outage)
