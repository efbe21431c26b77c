"""Scripted faults of HTTP/2 itself: what happens to a stream or a connection, whatever the provider would answer.

Error codes and frames are those of RFC 9113.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .chance import Chance, Strikes

ErrorName = Literal[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "ENHANCE_YOUR_CALM",
    "HTTP_1_1_REQUIRED",
]


class RequestFault(Chance):
    """Strikes a request when it has arrived in full."""

    fault: Literal["reset", "goaway", "cut", "lost"]
    """RST_STREAM; GOAWAY (older requests are still answered, then the connection is closed); the connection cut at
    once; or silence: the stream stays open without an answer."""
    path: Annotated[str, Field(max_length=1024)] = ""
    """Prefix of the paths it strikes; empty = all. ``/3/device/`` is APNs, ``/v1/projects/`` FCM, ``/wp/`` Web Push."""
    after: Annotated[int, Field(ge=0)] = 0
    """How many requests of its connection pass first."""
    taken: bool = True
    """Whether the provider takes the request before: then its answer is lost (with GOAWAY it is still given)."""
    code: ErrorName = "INTERNAL_ERROR"
    """Of RST_STREAM and GOAWAY; a GOAWAY without one says NO_ERROR."""
    reason: Annotated[str, Field(max_length=256)] = ""
    """GOAWAY's debug data, in Apple's form ``{"reason": …}``."""

    @model_validator(mode="after")
    def _refused_is_not_taken(self) -> "RequestFault":
        if self.fault == "reset" and self.code == "REFUSED_STREAM" and self.taken:
            raise ValueError("REFUSED_STREAM says that the request was not taken: it needs taken = false")
        return self

    @property
    def error(self) -> ErrorName:
        """The error code to send."""
        return "NO_ERROR" if self.fault == "goaway" and "code" not in self.model_fields_set else self.code


class ConnectionFault(Chance):
    """Strikes a connection when it is opened, and holds for its life."""

    fault: Literal["one_stream", "streams", "stall", "deaf"]
    """One stream until APNs has accepted a provider token, as at Apple; a lower stream limit; flow-control windows
    that are no longer opened; PINGs that are not answered."""
    limit: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Of ``streams``: MAX_CONCURRENT_STREAMS."""
    excess: Literal["close", "refuse"] = "close"
    """What a stream over the limit brings: GOAWAY and the end of the connection, or REFUSED_STREAM."""
    after_bytes: Annotated[int, Field(ge=0)] = 0
    """Of ``stall``: bytes of request bodies that are acknowledged first."""


Http2Fault = Annotated[RequestFault | ConnectionFault, Field(discriminator="fault")]


@dataclass(frozen=True, slots=True)
class Manners:
    """How a connection behaves, all faults that struck it taken together."""

    streams: int
    """MAX_CONCURRENT_STREAMS once a token is accepted."""
    first_streams: int
    """The same until then."""
    closes_on_excess: bool = True
    stall_after_bytes: int | None = None
    deaf: bool = False


class Http2Script:
    """The HTTP/2 rules in force."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._armed: list[tuple[RequestFault | ConnectionFault, Strikes]] = []

    @property
    def rules(self) -> list[RequestFault | ConnectionFault]:
        """The rules as they were put."""
        return [rule for rule, _ in self._armed]

    def replace(self, rules: Iterable[RequestFault | ConnectionFault]) -> None:
        """Put these rules in force instead of those before; connections that are open keep their manners."""
        self._armed = [(rule, Strikes(rule)) for rule in rules]

    def on_connection(self, usual_streams: int) -> Manners:
        """How a new connection behaves: of each kind of fault, the first rule that strikes decides."""
        struck: dict[str, ConnectionFault] = {}
        for rule, strikes in self._armed:
            if (
                isinstance(rule, ConnectionFault)
                and rule.fault not in struck
                and self._is_valid(rule)
                and strikes.strike()
            ):
                struck[rule.fault] = rule
        lower, stall = struck.get("streams"), struck.get("stall")
        streams = usual_streams if lower is None else lower.limit
        one = struck.get("one_stream")
        return Manners(
            streams=streams,
            first_streams=streams if one is None else min(1, streams),
            closes_on_excess=all(rule.excess == "close" for rule in (one, lower) if rule is not None),
            stall_after_bytes=None if stall is None else stall.after_bytes,
            deaf="deaf" in struck,
        )

    def on_request(self, path: str, ordinal: int) -> RequestFault | None:
        """What strikes the request that is the ``ordinal``-th (from 0) of its connection: the first rule that does."""
        for rule, strikes in self._armed:
            if (
                isinstance(rule, RequestFault)
                and ordinal >= rule.after
                and path.startswith(rule.path)
                and self._is_valid(rule)
                and strikes.strike()
            ):
                return rule
        return None

    def _is_valid(self, rule: Chance) -> bool:
        return rule.until is None or self._clock() < rule.until
