"""The one topology table of the bus: streams, subjects and durable consumers (decisions: bus).

Streams carry ids for a short runway; the backlog rests in the ledger. Every name in JetStream is made here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from clarion_kit.vocabulary import Channel, Priority


class Stream(StrEnum):
    """JetStream streams."""

    PLAN = "PLAN"
    DISPATCH = "DISPATCH"
    RETRY = "RETRY"
    EVENTS = "EVENTS"


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How a stream is set up. `max_age` None: kept until consumed (work queue)."""

    stream: Stream
    subjects: tuple[str, ...]
    max_bytes: int
    max_age: timedelta | None


@dataclass(frozen=True, slots=True)
class Lane:
    """One subject with its one durable consumer: a stage, a channel (not for planning) and a priority."""

    stream: Stream
    priority: Priority
    channel: Channel | None = None

    @property
    def name(self) -> str:
        """The durable's name, also the lane's name in metrics: "dispatch-ios-urgent"."""
        parts = [self.stream.lower(), *([self.channel.slug] if self.channel else []), self.priority.slug]
        return "-".join(parts)

    @property
    def destination(self) -> str:
        """Low-cardinality name for spans: "DISPATCH.ios"."""
        return f"{self.stream}.{self.channel.slug}" if self.channel else f"{self.stream}.{self.priority.slug}"


ACK_WAIT = timedelta(seconds=30)
"""A message not settled within this is delivered again; handlers send heartbeats every third of it."""


class Subjects:
    """Names under one prefix (default "clarion"), so that meshes can share a NATS cluster."""

    def __init__(self, prefix: str = "clarion") -> None:
        self._root = f"{prefix}.v1"
        self._stream_prefix = "" if prefix == "clarion" else f"{prefix}-"

    def subject(self, lane: Lane) -> str:
        channel = f".{lane.channel.slug}" if lane.channel else ""
        return f"{self._root}.{lane.stream.lower()}{channel}.{lane.priority.slug}"

    def events(self, shard: int) -> str:
        return f"{self._root}.events.{shard}"

    @property
    def probe(self) -> str:
        """A subject of EVENTS that nobody reads."""
        return f"{self._root}.events.probe"

    def stream_name(self, stream: Stream) -> str:
        return f"{self._stream_prefix}{stream}"

    def streams(self) -> tuple[StreamSpec, ...]:
        mebibyte = 1 << 20
        return (
            StreamSpec(Stream.PLAN, (f"{self._root}.plan.*",), 256 * mebibyte, None),
            StreamSpec(Stream.DISPATCH, (f"{self._root}.dispatch.*.*",), 512 * mebibyte, None),
            StreamSpec(Stream.RETRY, (f"{self._root}.retry.*.*",), 256 * mebibyte, None),
            StreamSpec(Stream.EVENTS, (f"{self._root}.events.*",), 64 * mebibyte, timedelta(hours=1)),
        )


def plan_lane(priority: Priority) -> Lane:
    return Lane(Stream.PLAN, priority)


def plan_lanes() -> tuple[Lane, ...]:
    return tuple(plan_lane(priority) for priority in Priority)


def dispatch_lanes(channel: Channel) -> tuple[Lane, ...]:
    """What a dispatcher consumes: fresh work and retries of its channel, each priority on its own."""
    return tuple(Lane(stream, priority, channel) for stream in (Stream.DISPATCH, Stream.RETRY) for priority in Priority)


def all_lanes() -> Iterator[Lane]:
    """Every lane of the mesh."""
    yield from plan_lanes()
    for channel in Channel:
        yield from dispatch_lanes(channel)
