"""A stream of recipients, stored as it comes: however long it is, one batch of it is held."""

from collections.abc import AsyncIterator

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion_kit.errors import DomainError, FieldFault, invalid_fields
from clarion_kit.rpc.caller import Caller
from clarion_preference.ports import Directory
from clarion_preference.recipients import Actor, RecipientUpdate
from clarion_preference.rpc.reading_recipient import read_recipient

MAX_IMPORTED = 100_000
MAX_FAULTS = 100
"""Refused recipients that are named; all of them are counted."""
_BATCH = 200
_TOO_MANY = f"a stream takes at most {MAX_IMPORTED:,}; send the rest in another"


async def import_all(
    directory: Directory,
    caller: Caller,
    requests: AsyncIterator[pb.ImportRecipientsRequest],
    *,
    private_hosts: bool = False,
) -> pb.ImportRecipientsResponse:
    """Raises INVALID_FIELD for more than `MAX_IMPORTED`: what came before is stored."""
    importing = _Importing(directory, caller, private_hosts)
    position = 0
    async for request in requests:
        if position == MAX_IMPORTED:
            await importing.flush()
            raise invalid_fields([FieldFault("recipient", _TOO_MANY)])
        await importing.take(position, request)
        position += 1
    await importing.flush()
    return importing.response


class _Importing:
    """The batch that waits, and what became of those before it."""

    def __init__(self, directory: Directory, caller: Caller, private_hosts: bool) -> None:
        self._directory = directory
        self._caller = caller
        self._private_hosts = private_hosts
        self._waiting: dict[str, tuple[int, RecipientUpdate]] = {}
        self.response = pb.ImportRecipientsResponse()

    async def take(self, position: int, request: pb.ImportRecipientsRequest) -> None:
        try:
            update = read_recipient("recipient", request.recipient, private_hosts=self._private_hosts)
        except DomainError as refused:
            self._refuse(position, refused)
            return
        # The same id again is another change, and changes of one recipient have an order.
        if update.recipient_id in self._waiting or len(self._waiting) == _BATCH:
            await self.flush()
        self._waiting[update.recipient_id] = (position, update)

    async def flush(self) -> None:
        waiting = list(self._waiting.values())
        self._waiting.clear()
        if not waiting:
            return
        actor = Actor(who=self._caller.key)
        results = await self._directory.upsert(self._caller.app_id, [update for _, update in waiting], actor)
        for (position, _), result in zip(waiting, results, strict=True):
            if isinstance(result, DomainError):
                self._refuse(position, result)
            else:
                self.response.stored += 1
                self.response.created += result.created

    def _refuse(self, position: int, refused: DomainError) -> None:
        self.response.refused += 1
        if len(self.response.faults) < MAX_FAULTS:
            self.response.faults.add(position=position, error=refused.to_status())
