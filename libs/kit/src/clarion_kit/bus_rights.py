"""Who may do what on the bus: the NATS permissions of each daemon's user, made from the topology table.

A daemon feeds lanes, reads lanes, or tends the bus; what is not named here NATS refuses. Answers come to an inbox of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clarion_kit import mesh
from clarion_kit.subjects import Lane, Stream, Subjects, all_lanes, dispatch_lanes, plan_lanes
from clarion_kit.vocabulary import Channel

API = "$JS.API"


@dataclass(frozen=True, slots=True)
class Rights:
    """Subjects, wildcards allowed, that a user may publish to and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox(daemon: str) -> str:
    """The prefix of a daemon's inboxes: nobody else may read them."""
    return f"_INBOX.{daemon}"


def rights(daemon: str, subjects: Subjects | None = None) -> Rights | None:
    """The rights of a daemon, None for one that has no business on the bus. Raises KeyError for a name that is no daemon's."""
    if daemon not in mesh.DAEMONS:
        raise KeyError(daemon)
    names = subjects or Subjects()
    publish = sorted(set(_published(daemon, names)))
    return Rights(tuple(publish), (f"{inbox(daemon)}.>",)) if publish else None


def read_credentials(path: Path) -> tuple[str, str]:
    """User and password of a file `user:password`. Raises ValueError that names the fault without the password."""
    try:
        user, colon, password = path.read_text().strip().partition(":")
    except (OSError, UnicodeDecodeError) as fault:
        raise ValueError(f"{path.name} cannot be read: {type(fault).__name__}") from None
    if not (user and colon and password):
        raise ValueError(f"{path.name} is not user:password")
    return user, password


def _published(daemon: str, names: Subjects) -> Iterable[str]:
    match daemon:
        case "gateway":
            yield from _feeds(plan_lanes(), names)
            yield from _measures(plan_lanes(), names)
        case "planner":
            fed = [lane for lane in all_lanes() if lane.stream is Stream.DISPATCH]
            yield from _reads(plan_lanes(), names)
            yield from _feeds(fed, names)
            yield from _measures(fed, names)
        case "scheduler":
            yield from _feeds(all_lanes(), names)
            yield from _measures(all_lanes(), names)
            yield from _looks(names)
            yield from _makes(names)
        case "monitor":
            yield names.probe
            yield from _measures(all_lanes(), names)
            yield from _looks(names)
            yield from _heals(names)
        case _ if daemon in mesh.DISPATCHERS:
            yield from _reads(dispatch_lanes(_channel(daemon)), names)


def _feeds(lanes: Iterable[Lane], names: Subjects) -> Iterable[str]:
    return (names.subject(lane) for lane in lanes)


def _measures(lanes: Iterable[Lane], names: Subjects) -> Iterable[str]:
    return (f"{API}.CONSUMER.INFO.{names.stream_name(lane.stream)}.{lane.name}" for lane in lanes)


def _reads(lanes: Iterable[Lane], names: Subjects) -> Iterable[str]:
    for lane in lanes:
        consumer = f"{names.stream_name(lane.stream)}.{lane.name}"
        yield f"{API}.CONSUMER.INFO.{consumer}"
        yield f"{API}.CONSUMER.MSG.NEXT.{consumer}"
        yield f"$JS.ACK.{consumer}.>"


def _looks(names: Subjects) -> Iterable[str]:
    """At streams and their oldest messages; what is settled already and came back is purged."""
    for spec in names.streams():
        stream = names.stream_name(spec.stream)
        yield f"{API}.STREAM.INFO.{stream}"
        yield f"{API}.STREAM.MSG.GET.{stream}"
        yield f"{API}.STREAM.PURGE.{stream}"


def _makes(names: Subjects) -> Iterable[str]:
    for spec in names.streams():
        stream = names.stream_name(spec.stream)
        yield from (f"{API}.STREAM.{act}.{stream}" for act in ("CREATE", "UPDATE", "DELETE"))
    yield from _consumers(("DURABLE.CREATE",), names)


def _heals(names: Subjects) -> Iterable[str]:
    return _consumers(("DURABLE.CREATE", "DELETE", "PAUSE"), names)


def _consumers(acts: Iterable[str], names: Subjects) -> Iterable[str]:
    return (
        f"{API}.CONSUMER.{act}.{names.stream_name(lane.stream)}.{lane.name}" for lane in all_lanes() for act in acts
    )


def _channel(daemon: str) -> Channel:
    return next(channel for channel in Channel if daemon == f"dispatcher_{channel.slug}")
