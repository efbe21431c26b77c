"""What a broadcast asks for, its audience page by page, and how much of it is planned at a time. No transport."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import Notification, TemplateRef
from clarion.recipient.v1.recipient_service_pb2 import Audience
from clarion_kit.sealing import AppSealer
from clarion_ledger.broadcasts import Turn, child_id
from clarion_ledger.planning import ToPlan

CHUNK = 250
"""Children of one transaction, as many as notifications that come one by one (`consumer.CHUNK`)."""
PAGE = 2_000
"""Recipients asked for at once."""


@dataclass(frozen=True, slots=True)
class AudiencePage:
    """References ascending; `last`: there are none behind them. `estimated_total` where it was asked for."""

    refs: Sequence[UUID]
    last: bool
    estimated_total: int | None = None


class Audiences(Protocol):
    async def page(
        self, app_id: int, audience: Audience, after: UUID, size: int, as_of: datetime, *, estimate: bool
    ) -> AudiencePage:
        """The recipients behind `after` who were there `as_of`. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        ...


def read_payload(turn: Turn, sealer: AppSealer) -> StartBroadcastRequest:
    """What the app asked for. Raises Unsealable, DecodeError."""
    owner = turn.broadcast.event_id.encode()
    return StartBroadcastRequest.FromString(sealer.open("broadcast", owner, "payload", turn.payload))


def audience_of(request: StartBroadcastRequest) -> Audience:
    """A topic, a filter, or everybody."""
    return Audience(topic=request.topic, filter=request.filter)


def notification_of(request: StartBroadcastRequest) -> Notification:
    """What each child is, without its recipient."""
    notification = Notification(
        category=request.category,
        priority=request.priority,
        channel_policy=request.channel_policy,
        collapse_key=request.collapse_key,
        deliver_at_local=request.deliver_at_local,
    )
    if request.HasField("send_window"):
        notification.send_window.CopyFrom(request.send_window)
    if request.template:
        template = TemplateRef(name=request.template, version=request.template_version, locale=request.locale)
        template.data.CopyFrom(request.data)
        notification.template.CopyFrom(template)
    else:
        notification.content.CopyFrom(request.content)
    return notification


def child_source(turn: Turn, ref: UUID) -> ToPlan:
    """A recipient's notification, as planning takes those that wait. It is in nobody's trace: a million spans tell nothing."""
    broadcast = turn.broadcast
    return ToPlan(
        notification_id=child_id(broadcast.broadcast_id, ref),
        app_id=broadcast.app_id,
        category_id=broadcast.category_id,
        priority=broadcast.priority,
        event_id="",
        accepted_at=broadcast.accepted_at,
        expire_at=broadcast.expire_at,
        expired=False,
        payload=b"",
        traceparent="",
        tries=turn.tries,
    )


def chunk_size(pace: int) -> int:
    """Recipients of a chunk: with a pace so few that a second has at least two chunks. `pace` 0: no limit."""
    return CHUNK if pace == 0 else max(1, min(CHUNK, pace // 2))


class Walk:
    """A way through an audience: pages are asked for when the one before is used up."""

    def __init__(self, audiences: Audiences, turn: Turn, audience: Audience) -> None:
        self._audiences = audiences
        self._broadcast = turn.broadcast
        self._audience = audience
        self._estimate = turn.broadcast.total is None
        self._rest = AudiencePage([], last=False)
        self.total: int | None = None
        """An estimate of the whole, once a page was asked for where there was none before."""

    async def next(self, after: UUID, size: int) -> AudiencePage:
        """Up to `size` recipients behind `after`. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        if not self._rest.refs and not self._rest.last:
            self._rest = await self._audiences.page(
                self._broadcast.app_id,
                self._audience,
                after,
                PAGE,
                self._broadcast.deliver_at,
                estimate=self._estimate,
            )
            if self._estimate:
                self.total, self._estimate = self._rest.estimated_total, False
        refs, rest = self._rest.refs[:size], self._rest.refs[size:]
        self._rest = AudiencePage(rest, self._rest.last)
        return AudiencePage(refs, self._rest.last and not rest)
