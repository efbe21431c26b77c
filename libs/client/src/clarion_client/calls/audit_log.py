"""AuditLogService: who changed what; needs the scope `admin`."""

from clarion.auditlog.v1 import audit_log_service_pb2 as pb
from clarion_client._rpc import ServiceContract

_contract = ServiceContract(pb.DESCRIPTOR, "AuditLogService")


class AuditLogCalls:
    """Administrative acts of all apps."""

    @_contract.rpc("ListAuditLog", pb.ListAuditLogRequest, pb.ListAuditLogResponse)
    def page(
        self, *, app: str = "", before: int = 0, after: int | None = None, page_size: int = 50
    ) -> pb.ListAuditLogRequest:
        """A page of acts: the newest below the number `before` (0: of all), newest first; or, with `after`, the oldest above
        that number, oldest first. At most 500. Raises InvalidArgument (INVALID_FIELD), NotFound (APP_NOT_FOUND)."""
        return pb.ListAuditLogRequest(app=app, before=before, after=after, page_size=page_size)
