"""`Stats` between proto and domain."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Literal, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from clarion.notification.v1 import state_pb2
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion.types.v1.channel_pb2 import Channel as ProtoChannel
from clarion_kit.clock import Clock
from clarion_kit.rpc.caller import Caller
from clarion_kit.validate import NAME, Faults
from clarion_kit.vocabulary import Channel
from clarion_tracker.funnel import by_receipt, by_state, rates
from clarion_tracker.ports import Names, Statistics
from clarion_tracker.statistics import (
    MOST_NAMES,
    Bucket,
    Counted,
    Dimension,
    Group,
    Kept,
    Query,
    Window,
    grain_of,
    merged,
    window,
)

ADMIN = "admin"
EVERY_APP = "*"
NO_COUNTRY = "-"
NO_TEMPLATE = "-"
_YEAR_2200_SECONDS = 7_258_118_400
_COUNTRY = re.compile(r"[A-Z]{2}|-")
_MOST_VERSION = 2**31 - 1
_DIMENSIONS = {
    pb.STATS_DIMENSION_APP: Dimension.APP,
    pb.STATS_DIMENSION_CATEGORY: Dimension.CATEGORY,
    pb.STATS_DIMENSION_TEMPLATE_VERSION: Dimension.TEMPLATE_VERSION,
    pb.STATS_DIMENSION_CHANNEL: Dimension.CHANNEL,
    pb.STATS_DIMENSION_PROVIDER: Dimension.PROVIDER,
    pb.STATS_DIMENSION_COUNTRY: Dimension.COUNTRY,
    pb.STATS_DIMENSION_TEMPLATE: Dimension.TEMPLATE,
}
_BUCKETS = {pb.STATS_BUCKET_UNSPECIFIED: None, pb.STATS_BUCKET_HOUR: Bucket.HOUR, pb.STATS_BUCKET_DAY: Bucket.DAY}

ValueT = TypeVar("ValueT")


class StatsRpc:
    """Statistics for whoever calls."""

    def __init__(self, statistics: Statistics, names: Names, clock: Clock, kept: Kept) -> None:
        self._statistics = statistics
        self._names = names
        self._clock = clock
        self._kept = kept

    async def stats(self, request: pb.StatsRequest, caller: Caller) -> pb.StatsResponse:
        """Raises DomainError INVALID_FIELD, Unavailable."""
        query = self._asked(request, caller)
        if query.group_by or query.bucket is not None:
            return self._answer(query.window, await self._statistics.count(query))
        # One look serves both: the whole is the sum of its channels.
        counted = await self._statistics.count(replace(query, group_by=(Dimension.CHANNEL,)))
        response = self._answer(query.window, merged(counted))
        response.channels.extend(_channel(group) for group in counted.groups if group.key.channel)
        return response

    def _asked(self, request: pb.StatsRequest, caller: Caller) -> Query:
        """The query of a request. Raises DomainError INVALID_FIELD."""
        faults = Faults()
        since, until = _moment(faults, request, "since"), _moment(faults, request, "until")
        faults.require("bucket", request.bucket in _BUCKETS, "unknown")
        for position, dimension in enumerate(request.group_by):
            faults.require(f"group_by[{position}]", dimension in _DIMENSIONS, "unknown")
        faults.require("group_by", len(set(request.group_by)) == len(request.group_by), "names a dimension twice")
        with faults.within("filter."):
            apps = self._apps(faults, request.filter.apps, caller)
            categories = _named(
                faults, "categories", request.filter.categories, lambda n: self._names.categories(apps, n)
            )
            lanes = _named(faults, "providers", request.filter.providers, lambda n: self._names.providers(apps, n))
            versions = _checked(
                faults, "template_versions", request.filter.template_versions, lambda v: v <= _MOST_VERSION
            )
            templates = _checked(
                faults,
                "templates",
                request.filter.templates,
                lambda n: n == NO_TEMPLATE or NAME.fullmatch(n) is not None,
            )
            channels = _checked(faults, "channels", request.filter.channels, lambda v: Channel(v).known)
            countries = _checked(
                faults, "countries", request.filter.countries, lambda v: _COUNTRY.fullmatch(v) is not None
            )
        faults.raise_if_any()
        bucket = _BUCKETS[request.bucket]
        group_by = tuple(_DIMENSIONS[dimension] for dimension in request.group_by)
        grain = grain_of(group_by, versions, countries, templates)
        return Query(
            apps=apps,
            window=window(since, until, bucket, self._clock.now(), self._kept, grain),
            bucket=bucket,
            group_by=group_by,
            categories=categories,
            template_versions=versions,
            channels=None if channels is None else tuple(map(Channel, channels)),
            lanes=lanes,
            countries=None if countries is None else tuple("" if c == NO_COUNTRY else c for c in countries),
            templates=None if templates is None else tuple("" if t == NO_TEMPLATE else t for t in templates),
        )

    def _apps(self, faults: Faults, names: Sequence[str], caller: Caller) -> tuple[int, ...] | None:
        """The apps to count, None: all. What a caller may not see does not exist for it."""
        if not names:
            return (caller.app_id,)
        if not faults.require("apps", len(names) <= MOST_NAMES, f"at most {MOST_NAMES}"):
            return ()
        everywhere = ADMIN in caller.scopes
        if EVERY_APP in names and everywhere:
            return None
        found = []
        for position, name in enumerate(names):
            app_id = self._names.app_id(name)
            if app_id is not None and (everywhere or app_id == caller.app_id):
                found.append(app_id)
            else:
                faults.add(f"apps[{position}]", "no such app")
        return tuple(dict.fromkeys(found))

    def _answer(self, counted_over: Window, counted: Counted) -> pb.StatsResponse:
        response = pb.StatsResponse(accepted=counted.total.accepted, rows=map(self._row, counted.groups))
        response.as_of.FromDatetime(counted.as_of)
        response.since.FromDatetime(counted_over.since)
        response.until.FromDatetime(counted_over.until)
        return response

    def _row(self, group: Group) -> pb.StatsRow:
        key, counts = group.key, group.counts
        row = pb.StatsRow(
            app="" if key.app_id is None else self._names.app(key.app_id),
            category="" if key.category_id is None else self._names.category(key.category_id),
            template_version=key.template_version or 0,
            channel=ProtoChannel.ValueType(key.channel or 0),
            provider=self._names.provider(key.lane_id) if key.lane_id else "",
            country=key.country or "",
            template=key.template or "",
            counts=pb.StatsCounts(**asdict(counts), in_flight=counts.in_flight),
            rates=pb.StatsRates(**asdict(rates(counts))),
            reasons=[
                pb.StatsReason(
                    state=state_pb2.DeliveryState.ValueType(one.state),
                    reason=state_pb2.Reason.ValueType(one.reason),
                    count=one.count,
                )
                for one in group.reasons
            ],
        )
        if key.start is not None:
            row.start.FromDatetime(key.start)
        return row


def _channel(group: Group) -> pb.ChannelStats:
    by_reason: dict[str, int] = {}
    for one in group.reasons:
        by_reason[one.reason.name.lower()] = by_reason.get(one.reason.name.lower(), 0) + one.count
    return pb.ChannelStats(
        channel=ProtoChannel.ValueType(group.key.channel or 0),
        by_state=by_state(group.counts),
        by_reason=by_reason,
        by_receipt=by_receipt(group.counts),
    )


def _moment(faults: Faults, request: pb.StatsRequest, field: Literal["since", "until"]) -> datetime | None:
    moment: Timestamp = getattr(request, field)
    possible = 0 <= moment.seconds < _YEAR_2200_SECONDS and 0 <= moment.nanos < 1_000_000_000
    faults.require(field, possible, "must be a moment between 1970 and 2200")
    return moment.ToDatetime(UTC) if possible and request.HasField(field) else None


def _named(
    faults: Faults, field: str, names: Sequence[str], ids: Callable[[str], Sequence[int]]
) -> tuple[int, ...] | None:
    """The ids behind names, None where nothing is asked for."""
    if not names or not faults.require(field, len(names) <= MOST_NAMES, f"at most {MOST_NAMES}"):
        return None
    found: dict[int, None] = {}
    for position, name in enumerate(names):
        known = ids(name)
        faults.require(f"{field}[{position}]", bool(known), "not known")
        found.update(dict.fromkeys(known))
    return tuple(found)


def _checked(
    faults: Faults, field: str, values: Sequence[ValueT], holds: Callable[[ValueT], bool]
) -> tuple[ValueT, ...] | None:
    if not values or not faults.require(field, len(values) <= MOST_NAMES, f"at most {MOST_NAMES}"):
        return None
    for position, value in enumerate(values):
        faults.require(f"{field}[{position}]", holds(value), "not possible")
    return tuple(dict.fromkeys(values))
