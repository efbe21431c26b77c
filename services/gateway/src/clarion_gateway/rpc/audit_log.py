"""AuditLogService."""

from collections.abc import Mapping

import grpc

from clarion.auditlog.v1 import audit_log_service_pb2 as pb
from clarion.auditlog.v1.audit_log_service_pb2_grpc import AuditLogServiceServicer
from clarion_gateway.rpc.fields import app_id_of
from clarion_gateway.rpc.paging import page_size
from clarion_kit.validate import Faults
from clarion_ledger import admin, audit_log
from clarion_ledger.audit_log import Entry
from clarion_ledger.db import Pool

MAX_PAGE_BYTES = 2 << 20
_LARGEST = (1 << 63) - 1


class AuditLogRpc(AuditLogServiceServicer):
    """Administrative acts of all apps, for administrators."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListAuditLog(
        self,
        request: pb.ListAuditLogRequest,
        context: grpc.aio.ServicerContext[pb.ListAuditLogRequest, pb.ListAuditLogResponse],
    ) -> pb.ListAuditLogResponse:
        size = page_size(request.page_size)
        oldest_first = request.HasField("after")
        faults = Faults()
        faults.require("before", not (request.before and oldest_first), "not together with after")
        faults.require("before", request.before <= _LARGEST, "no such number")
        faults.require("after", request.after <= _LARGEST, "no such number")
        faults.raise_if_any()
        app_id = await app_id_of(self._pool, request.app) if request.app else None
        found, head = await audit_log.page(
            self._pool,
            app_id=app_id,
            after=request.after,
            before=None if oldest_first else request.before or _LARGEST,
            size=size + 1,
        )
        names = {row.app_id: row.name for row in await admin.apps(self._pool)}
        response = pb.ListAuditLogResponse(
            more=len(found) > size,
            head=pb.AuditHead(seq=head.seq, hash=head.hash, base_seq=head.base_seq, base_hash=head.base_hash),
        )
        room = MAX_PAGE_BYTES
        for entry in found[:size]:
            shown = _entry(entry, names)
            room -= shown.ByteSize()
            if room < 0 and response.entries:
                response.more = True
                break
            response.entries.append(shown)
        return response


def _entry(entry: Entry, names: Mapping[int, str]) -> pb.AuditEntry:
    shown = pb.AuditEntry(
        seq=entry.seq,
        app_id=entry.app_id,
        actor_app_id=entry.actor_app,
        actor_key=entry.actor_key,
        act=entry.act,
        target=entry.target,
        before=entry.before,
        after=entry.after,
        trace_id=entry.trace_id,
        hash=entry.hash,
        app=names.get(entry.app_id, ""),
    )
    shown.at.FromDatetime(entry.at)
    return shown
