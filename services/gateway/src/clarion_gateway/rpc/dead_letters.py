"""DeadLetterService."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc
from google.protobuf.message import DecodeError

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.deadletter.v1.dead_letter_service_pb2_grpc import DeadLetterServiceServicer
from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered
from clarion.notification.v1.state_pb2 import GateTrail
from clarion.types.v1.content_pb2 import Content
from clarion_gateway.rpc import letters
from clarion_gateway.rpc.paging import page_size, page_token, parse_page_token
from clarion_gateway.shown_content import Unshowable, shown
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.rpc.caller import Caller, current_caller
from clarion_kit.sealing import Unsealable
from clarion_kit.validate import Faults, moment
from clarion_ledger import dead_letters, redriving
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, connection
from clarion_ledger.dead_letters import LetterFilter
from clarion_ledger.keys import KeyRing
from clarion_ledger.reading import frame
from clarion_ledger.redriving import CHUNK, Pace

MAX_IDS = 1_000
MAX_BY_FILTER = 10_000
DEFAULT_BY_FILTER = 1_000
DEFAULT_RATE = 100.0
MIN_RATE, MAX_RATE = 0.01, 10_000.0
MAX_AHEAD = timedelta(days=7)


class DeadLetterRpc(DeadLetterServiceServicer):
    """The dead letters of the caller's app."""

    def __init__(self, pool: Pool, keys: KeyRing, config: ConfigCache) -> None:
        self._pool = pool
        self._keys = keys
        self._config = config

    async def ListDeadLetters(
        self,
        request: pb.ListDeadLettersRequest,
        context: grpc.aio.ServicerContext[pb.ListDeadLettersRequest, pb.ListDeadLettersResponse],
    ) -> pb.ListDeadLettersResponse:
        wanted = letters.list_filter(request)
        size = page_size(request.page_size)
        before = parse_page_token(request.page_token)
        rows = await dead_letters.page(self._pool, current_caller().app_id, size=size + 1, before=before, wanted=wanted)
        response = pb.ListDeadLettersResponse(dead_letters=[letters.letter(row) for row in rows[:size]])
        if len(rows) > size:
            response.next_page_token = page_token(rows[size - 1].delivery_id)
        return response

    async def GetDeadLetter(
        self,
        request: pb.GetDeadLetterRequest,
        context: grpc.aio.ServicerContext[pb.GetDeadLetterRequest, pb.GetDeadLetterResponse],
    ) -> pb.GetDeadLetterResponse:
        app_id = current_caller().app_id
        id_ = _uuid("delivery_id", request.delivery_id)
        whole = await dead_letters.whole(self._pool, app_id, id_)
        if whole is None:
            raise DomainError(
                ErrorReason.NOTIFICATION_NOT_FOUND, "no such dead letter", metadata={"delivery_id": str(id_)}
            )
        category = self._config.snapshot.categories_by_id.get(whole.category_id)
        state, content = await self._content(app_id, id_, whole.content)
        return pb.GetDeadLetterResponse(
            dead_letter=letters.letter(whole.letter),
            attempts=[letters.attempt(row) for row in whole.attempts],
            gates=GateTrail.FromString(whole.gates),
            content=content,
            content_state=state,
            redrive_of=str(whole.redrive_of or ""),
            category=category.name if category else "",
            planned_at=letters.stamp(whole.planned_at),
            ambiguous=whole.ambiguous,
        )

    async def Redrive(
        self, request: pb.RedriveRequest, context: grpc.aio.ServicerContext[pb.RedriveRequest, pb.RedriveResponse]
    ) -> pb.RedriveResponse:
        faults = Faults()
        pace = _pace(faults, request)
        if request.HasField("filter"):
            faults.require("delivery_ids", not request.delivery_ids, "not together with a filter")
            faults.require("max", request.max <= MAX_BY_FILTER, f"at most {MAX_BY_FILTER}")
            wanted = letters.redrive_filter(faults, request.filter)
            faults.raise_if_any()
            return await self._redrive_matching(
                current_caller(), wanted, request.page_token, request.max or DEFAULT_BY_FILTER, pace
            )
        count = len(request.delivery_ids)
        faults.require("delivery_ids", 1 <= count <= MAX_IDS, f"1 to {MAX_IDS}, or a filter")
        faults.require("delivery_ids", len(set(request.delivery_ids)) == count, "no two alike")
        for field, given in (("max", request.max), ("page_token", request.page_token)):
            faults.require(field, not given, "goes with a filter")
        faults.raise_if_any()
        ids = [_uuid(f"delivery_ids[{place}]", text) for place, text in enumerate(request.delivery_ids)]
        response = pb.RedriveResponse()
        for start in range(0, count, CHUNK):
            pace = await self._redrive(current_caller(), ids[start : start + CHUNK], pace, response)
        return response

    async def _redrive_matching(
        self, caller: Caller, wanted: LetterFilter, token: str, most: int, pace: Pace
    ) -> pb.RedriveResponse:
        behind = letters.parse_position(token)
        response = pb.RedriveResponse()
        while most:
            size = min(CHUNK, most)
            found = await redriving.walk(self._pool, caller.app_id, wanted, behind=behind, size=size + 1)
            chunk = found[:size]
            if chunk:
                behind = chunk[-1]
                pace = await self._redrive(caller, [position.delivery_id for position in chunk], pace, response)
            response.next_page_token = letters.position_token(chunk[-1]) if len(found) > size else ""
            if len(found) <= size:
                break
            most -= size
        return response

    async def _redrive(self, caller: Caller, ids: list[UUID], pace: Pace, response: pb.RedriveResponse) -> Pace:
        done = await redriving.redrive(
            self._pool,
            self._keys,
            self._config.snapshot.categories_by_id,
            caller.app_id,
            ids,
            by=caller.key,
            pace=pace,
        )
        response.results.extend(letters.result(one) for one in done)
        response.new_delivery_ids.extend(str(one.new_id or "") for one in done)
        pace = pace.after(done)
        if pace.first is not None:
            response.next_due_at.CopyFrom(letters.stamp(pace.first))
        return pace

    async def _content(
        self, app_id: int, id_: UUID, sealed: bytes | None
    ) -> tuple[pb.ContentState.ValueType, Content | None]:
        if sealed is None:
            return pb.CONTENT_STATE_GONE, None
        sealer = await self._keys.sealer(app_id)
        try:
            rendered = Rendered.FromString(sealer.open("delivery", id_.bytes, "content", sealed))
            return pb.CONTENT_STATE_PRESENT, shown(rendered, await self._frame(rendered.mail.frame_sha256))
        except (Unsealable, DecodeError, Unshowable):
            return pb.CONTENT_STATE_UNREADABLE, None

    async def _frame(self, sha256: bytes) -> MailFrame | None:
        """Raises DecodeError, LedgerUnavailable."""
        if not sha256:
            return None
        async with connection(self._pool) as db:
            found = await frame(db, sha256)
        return None if found is None else MailFrame.FromString(found)


def _pace(faults: Faults, request: pb.RedriveRequest) -> Pace:
    rate = request.rate_per_second or DEFAULT_RATE
    within = MIN_RATE <= rate <= MAX_RATE
    faults.require("rate_per_second", within, f"{MIN_RATE} to {MAX_RATE:g}")
    first = moment(faults, "due_at", request.due_at) if request.HasField("due_at") else None
    near = first is None or first <= datetime.now(UTC) + MAX_AHEAD
    faults.require("due_at", near, f"at most {MAX_AHEAD.days} days ahead")
    return Pace(first, timedelta(seconds=1 / rate if within else 0))


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise invalid_fields([FieldFault(field, "not a UUID")]) from None
