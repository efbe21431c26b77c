"""TrackingService: what came of notifications."""

from datetime import datetime

from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp

_contract = ServiceContract(pb.DESCRIPTOR, "TrackingService")


class TrackingCalls:
    """Statistics."""

    @_contract.rpc("Stats", pb.StatsRequest, pb.StatsResponse)
    def stats(self, *, since: datetime | None = None, until: datetime | None = None) -> pb.StatsRequest:
        """Deliveries by channel and outcome, planned in [since, until); default the last 24 hours.

        Raises InvalidArgument (INVALID_FIELD), ValueError for a naive datetime.
        """
        return pb.StatsRequest(since=optional_timestamp("since", since), until=optional_timestamp("until", until))
