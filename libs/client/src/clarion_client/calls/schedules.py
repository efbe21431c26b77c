"""ScheduleService: recurring sends."""

from datetime import datetime

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.schedule.v1 import schedule_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp

_contract = ServiceContract(pb.DESCRIPTOR, "ScheduleService")

LIST_SCHEDULES = _contract.method("ListSchedules", pb.ListSchedulesRequest, pb.ListSchedulesResponse)


class ScheduleCalls:
    """Recurring schedules of the app."""

    @_contract.rpc("PutSchedule", pb.PutScheduleRequest, pb.PutScheduleResponse)
    def put(
        self,
        name: str,
        cron: str,
        body: Notification | StartBroadcastRequest,
        *,
        time_zone: str = "UTC",
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> pb.PutScheduleRequest:
        """Creates or replaces a schedule: `cron` has five fields and means the clocks of `time_zone`. The body's own event
        id and times are left out: each firing has its own.

        Raises InvalidArgument (INVALID_FIELD, CATEGORY_NOT_FOUND, MISSING_VARIABLE), NotFound (TEMPLATE_NOT_FOUND).
        """
        request = pb.PutScheduleRequest(
            name=name,
            cron=cron,
            time_zone=time_zone,
            start_at=optional_timestamp("start_at", start_at),
            end_at=optional_timestamp("end_at", end_at),
        )
        if isinstance(body, Notification):
            request.notification.CopyFrom(body)
            request.notification.event_id = ""
        else:
            request.broadcast.CopyFrom(body)
            request.broadcast.event_id = ""
        return request

    @_contract.rpc("DeleteSchedule", pb.DeleteScheduleRequest, pb.DeleteScheduleResponse)
    def delete(self, name: str) -> pb.DeleteScheduleRequest:
        """Removes a schedule; what it fired stays. Repeating it is harmless."""
        return pb.DeleteScheduleRequest(name=name)

    @_contract.rpc("PauseSchedule", pb.PauseScheduleRequest, pb.PauseScheduleResponse)
    def pause(self, name: str, *, paused: bool = True) -> pb.PauseScheduleRequest:
        """Stops firing, or goes on with what comes next. Raises NotFound (SCHEDULE_NOT_FOUND)."""
        return pb.PauseScheduleRequest(name=name, paused=paused)
