"""ScheduleService."""

from datetime import UTC, datetime

import grpc

from clarion.schedule.v1 import schedule_service_pb2 as pb
from clarion.schedule.v1.schedule_service_pb2_grpc import ScheduleServiceServicer
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_ledger import recurring
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.recurring import Recurring, shown_fires
from clarion_scheduler.intake import Intake
from clarion_scheduler.rpc.paging import page_size, page_token, parse_page_token, timestamp


class ScheduleRpc(ScheduleServiceServicer):
    """Keeps recurring schedules of the caller's app."""

    def __init__(self, pool: Pool, config: ConfigCache, intake: Intake) -> None:
        self._pool = pool
        self._config = config
        self._intake = intake

    async def PutSchedule(
        self,
        request: pb.PutScheduleRequest,
        context: grpc.aio.ServicerContext[pb.PutScheduleRequest, pb.PutScheduleResponse],
    ) -> pb.PutScheduleResponse:
        stored = await self._intake.put(current_caller(), request)
        return pb.PutScheduleResponse(schedule=self._view(stored, datetime.now(UTC)))

    async def DeleteSchedule(
        self,
        request: pb.DeleteScheduleRequest,
        context: grpc.aio.ServicerContext[pb.DeleteScheduleRequest, pb.DeleteScheduleResponse],
    ) -> pb.DeleteScheduleResponse:
        _check_name(request.name)
        deleted = await recurring.delete(self._pool, current_caller().app_id, request.name)
        return pb.DeleteScheduleResponse(deleted=deleted)

    async def ListSchedules(
        self,
        request: pb.ListSchedulesRequest,
        context: grpc.aio.ServicerContext[pb.ListSchedulesRequest, pb.ListSchedulesResponse],
    ) -> pb.ListSchedulesResponse:
        size = page_size(request.page_size)
        try:
            after = parse_page_token(request.page_token).decode("ascii")
        except UnicodeDecodeError:
            raise invalid_fields([FieldFault("page_token", "not a token of this service")]) from None
        if after:
            _check_token(after)
        rows = await recurring.page(self._pool, current_caller().app_id, after=after, size=size + 1)
        page, now = rows[:size], datetime.now(UTC)
        return pb.ListSchedulesResponse(
            schedules=[self._view(row, now) for row in page],
            next_page_token=page_token(page[-1].name.encode()) if len(rows) > size else "",
        )

    async def PauseSchedule(
        self,
        request: pb.PauseScheduleRequest,
        context: grpc.aio.ServicerContext[pb.PauseScheduleRequest, pb.PauseScheduleResponse],
    ) -> pb.PauseScheduleResponse:
        _check_name(request.name)
        now = datetime.now(UTC)
        app_id = current_caller().app_id
        changed = await recurring.pause(self._pool, app_id, request.name, paused=request.paused, now=now)
        if changed is None:
            raise DomainError(ErrorReason.SCHEDULE_NOT_FOUND, "no such schedule", metadata={"name": request.name})
        return pb.PauseScheduleResponse(schedule=self._view(changed, now))

    def _view(self, one: Recurring, now: datetime) -> pb.Schedule:
        category = self._config.snapshot.categories_by_id.get(one.category_id)
        return pb.Schedule(
            name=one.name,
            cron=one.rule.cron,
            time_zone=one.rule.time_zone,
            category=category.name if category else "",
            broadcasts=one.broadcasts,
            paused=one.paused,
            start_at=timestamp(one.rule.start_at),
            end_at=timestamp(one.rule.end_at),
            next_fire_times=[stamp for time in shown_fires(one, now) if (stamp := timestamp(time)) is not None],
            last_fired_at=timestamp(one.last_fired_at),
            last_made_id=str(one.last_made) if one.last_made else "",
            last_error=one.last_error,
            missed=one.missed,
        )


def _check_name(name: str) -> None:
    faults = Faults()
    faults.name("name", name)
    faults.raise_if_any()


def _check_token(name: str) -> None:
    faults = Faults()
    faults.name("page_token", name)
    faults.raise_if_any()
