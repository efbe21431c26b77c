"""TrackingService: what came of notifications."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum

from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion.types.v1 import channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "TrackingService")


class Dimension(IntEnum):
    """What counts may be grouped by (`clarion.tracking.v1.StatsDimension`)."""

    APP = 1
    CATEGORY = 2
    TEMPLATE_VERSION = 3
    CHANNEL = 4
    PROVIDER = 5
    COUNTRY = 6
    TEMPLATE = 7


class Bucket(IntEnum):
    """Length of a time bucket, UTC (`clarion.tracking.v1.StatsBucket`)."""

    HOUR = 1
    DAY = 2


class TrackingCalls:
    """Statistics."""

    @_contract.rpc("Stats", pb.StatsRequest, pb.StatsResponse)
    def stats(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        group_by: Sequence[Dimension] = (),
        bucket: Bucket | None = None,
        apps: Sequence[str] = (),
        categories: Sequence[str] = (),
        template_versions: Sequence[int] = (),
        channels: Sequence[Channel] = (),
        providers: Sequence[str] = (),
        countries: Sequence[str] = (),
        templates: Sequence[str] = (),
    ) -> pb.StatsRequest:
        """Counts and rates of what was accepted or came due in [since, until), widened to whole hours or UTC days; default the
        last 24 hours. Complete up to the answer's `as_of`, usually a second or two ago. Filters that are empty let everything
        through; `apps` other than one's own needs the scope admin ("*": all), and "-" among `countries` or `templates` means: none
        that is known.

        Raises InvalidArgument (INVALID_FIELD), ValueError for a naive datetime.
        """
        return pb.StatsRequest(
            since=optional_timestamp("since", since),
            until=optional_timestamp("until", until),
            group_by=[pb.StatsDimension.ValueType(dimension) for dimension in group_by],
            bucket=pb.StatsBucket.ValueType(bucket or 0),
            filter=pb.StatsFilter(
                apps=apps,
                categories=categories,
                template_versions=template_versions,
                channels=[channel_pb2.Channel.ValueType(channel) for channel in channels],
                providers=providers,
                countries=countries,
                templates=templates,
            ),
        )
