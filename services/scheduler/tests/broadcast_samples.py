"""Calls of an app to the scheduler's public services, with its ports as fakes."""

from dataclasses import dataclass, field

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import Notification, TemplateRef
from clarion.schedule.v1.schedule_service_pb2 import PutScheduleRequest
from clarion.types.v1.content_pb2 import Content, PushContent
from clarion_kit.errors import DomainError
from clarion_kit.rpc.caller import Caller
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_scheduler.intake import Intake
from clarion_scheduler.rpc.broadcasts import BroadcastRpc
from clarion_scheduler.rpc.schedules import ScheduleRpc
from clarion_testkit.plugin import App

PUSH = Content(push=PushContent(title="Sale"))


@dataclass(slots=True)
class FakeTemplates:
    """Knows every template unless told otherwise."""

    refusal: DomainError | None = None
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    async def check(self, app_id: int, reference: TemplateRef, path: str, *, digest: bool) -> None:
        self.asked.append((reference.name, path, digest))
        if self.refusal is not None:
            raise self.refusal


@dataclass(slots=True)
class Office:
    """The services of one replica, for one app."""

    pool: Pool
    app: App
    config: ConfigCache
    templates: FakeTemplates = field(default_factory=FakeTemplates)

    @property
    def intake(self) -> Intake:
        return Intake(self.pool, self.config, self.app.keys, self.templates)

    @property
    def broadcasts(self) -> BroadcastRpc:
        return BroadcastRpc(self.pool, self.config, self.intake)

    @property
    def schedules(self) -> ScheduleRpc:
        return ScheduleRpc(self.pool, self.config, self.intake)

    def caller(self, *scopes: str) -> Caller:
        return Caller("gateway", self.app.app_id, "key", frozenset(scopes or ("send:*", "status:read")))


async def office(pool: Pool, app: App) -> Office:
    config = ConfigCache(pool, with_lanes=False)
    await config.refresh()
    return Office(pool, app, config)


def sale(event_id: str = "sale", **fields: object) -> StartBroadcastRequest:
    """A broadcast to a topic; `fields` replace what it says."""
    given = {"topic": "news", "category": "marketing", "content": PUSH, **fields}
    return StartBroadcastRequest(event_id=event_id, **given)  # type: ignore[arg-type]


def daily(name: str = "daily", **fields: object) -> PutScheduleRequest:
    """A schedule of a notification to one recipient; `fields` replace what it says."""
    notification = Notification(recipient_ids=["ann"], category="transactional", content=PUSH)
    given = {"cron": "0 9 * * *", "notification": notification, **fields}
    return PutScheduleRequest(name=name, **given)  # type: ignore[arg-type]
