"""RecipientService: people and where they can be reached."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import grpc

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.recipient.v1 import recipient_service_pb2_grpc as pb_grpc
from clarion_kit.errors import DomainError, FieldFault, invalid_fields
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_preference.addresses import Address
from clarion_preference.ports import Directory, People
from clarion_preference.recipients import Actor, RecipientUpdate, Upserted
from clarion_preference.rpc.faults import RequestFaults
from clarion_preference.rpc.importing import import_all
from clarion_preference.rpc.reading_address import read_address
from clarion_preference.rpc.reading_recipient import read_facts, read_recipient, read_recipient_id
from clarion_preference.rpc.showing import show_address, show_everything, show_recipient

Context = grpc.aio.ServicerContext[object, object]

MAX_RECIPIENTS = 500
_READ_AT_ONCE = 16


class RecipientRpc(pb_grpc.RecipientServiceServicer):
    """Answers for the app of the caller. `private_hosts`: browsers' endpoints may lead anywhere, for practice."""

    def __init__(self, directory: Directory, people: People, *, private_hosts: bool = False) -> None:
        self._directory = directory
        self._people = people
        self._private_hosts = private_hosts

    async def UpsertRecipient(self, request: pb.UpsertRecipientRequest, context: Context) -> pb.UpsertRecipientResponse:
        update = read_recipient("recipient", request.recipient, private_hosts=self._private_hosts)
        caller = current_caller()
        [result] = await self._directory.upsert(caller.app_id, [update], Actor(who=caller.key))
        if isinstance(result, DomainError):
            raise result
        return _stored(result)

    async def UpsertRecipients(
        self, request: pb.UpsertRecipientsRequest, context: Context
    ) -> pb.UpsertRecipientsResponse:
        faults = Faults()
        faults.require("recipients", 1 <= len(request.recipients) <= MAX_RECIPIENTS, f"must be 1-{MAX_RECIPIENTS}")
        faults.raise_if_any()
        read = await _read_each(request.recipients, private_hosts=self._private_hosts)
        sound = [update for update in read if isinstance(update, RecipientUpdate)]
        caller = current_caller()
        stored = iter(await self._directory.upsert(caller.app_id, sound, Actor(who=caller.key)) if sound else ())
        return pb.UpsertRecipientsResponse(
            results=[_result(update if isinstance(update, DomainError) else next(stored)) for update in read]
        )

    async def GetRecipient(self, request: pb.GetRecipientRequest, context: Context) -> pb.GetRecipientResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.raise_if_any()
        profile = await self._directory.profile(current_caller().app_id, recipient_id)
        return pb.GetRecipientResponse(
            recipient=show_recipient(profile),
            addresses=[show_address(address) for address in profile.addresses],
            revision=profile.revision,
        )

    async def RegisterAddress(self, request: pb.RegisterAddressRequest, context: Context) -> pb.RegisterAddressResponse:
        faults = RequestFaults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        address = read_address(faults, "address", request.address, private_hosts=self._private_hosts)
        facts = read_facts(faults, request.facts) if request.HasField("facts") else None
        if address is None or faults.found:
            raise faults.error()
        address_id = await self._directory.register(current_caller().app_id, recipient_id, address, facts)
        return pb.RegisterAddressResponse(address_id=str(address_id))

    async def RemoveAddress(self, request: pb.RemoveAddressRequest, context: Context) -> pb.RemoveAddressResponse:
        faults = RequestFaults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        key = _read_key(faults, request)
        if key is None or faults.found:
            raise faults.error()
        await self._directory.remove(current_caller().app_id, recipient_id, key)
        return pb.RemoveAddressResponse()

    async def ImportRecipients(
        self, request_iterator: AsyncIterator[pb.ImportRecipientsRequest], context: Context
    ) -> pb.ImportRecipientsResponse:
        return await import_all(self._directory, current_caller(), request_iterator, private_hosts=self._private_hosts)

    async def ExportRecipient(self, request: pb.ExportRecipientRequest, context: Context) -> pb.ExportRecipientResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.raise_if_any()
        return show_everything(await self._people.everything(current_caller().app_id, recipient_id))

    async def MergeRecipients(self, request: pb.MergeRecipientsRequest, context: Context) -> pb.MergeRecipientsResponse:
        faults = Faults()
        into = read_recipient_id(faults, request.into_recipient_id, "into_recipient_id")
        from_ = read_recipient_id(faults, request.from_recipient_id, "from_recipient_id")
        faults.require("from_recipient_id", not from_ or from_ != into, "must differ from into_recipient_id")
        faults.raise_if_any()
        caller = current_caller()
        return pb.MergeRecipientsResponse(revision=await self._people.merge(caller.app_id, into, from_, caller.key))

    async def EraseRecipient(self, request: pb.EraseRecipientRequest, context: Context) -> pb.EraseRecipientResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.raise_if_any()
        await self._people.erase(current_caller().app_id, recipient_id)
        return pb.EraseRecipientResponse()


async def _read_each(messages: Sequence[pb.Recipient], *, private_hosts: bool) -> list[RecipientUpdate | DomainError]:
    """Each recipient or what is wrong with it; an id that was given before is a fault of the later one."""
    read: list[RecipientUpdate | DomainError] = []
    seen: set[str] = set()
    for index, message in enumerate(messages):
        path = f"recipients[{index}]"
        try:
            update = read_recipient(path, message, private_hosts=private_hosts)
        except DomainError as refused:
            read.append(refused)
        else:
            twice = update.recipient_id in seen
            seen.add(update.recipient_id)
            read.append(invalid_fields([FieldFault(f"{path}.recipient_id", "given twice")]) if twice else update)
        if index % _READ_AT_ONCE == 0:
            # Checking a number, a mail address and a key costs some 0.2 ms: other calls must not wait for 500 of them.
            await asyncio.sleep(0)
    return read


def _read_key(faults: RequestFaults, request: pb.RemoveAddressRequest) -> UUID | Address | None:
    match request.WhichOneof("key"):
        case "address_id":
            try:
                return UUID(request.address_id)
            except ValueError:
                faults.add("address_id", "must be a UUID")
        case "address":
            return read_address(faults, "address", request.address, private_hosts=True)
        case _:
            faults.add("key", "required: address_id or address")
    return None


def _result(result: Upserted | DomainError) -> pb.UpsertResult:
    if isinstance(result, DomainError):
        return pb.UpsertResult(error=result.to_status())
    return pb.UpsertResult(stored=_stored(result))


def _stored(upserted: Upserted) -> pb.UpsertRecipientResponse:
    return pb.UpsertRecipientResponse(created=upserted.created, address_ids=[str(id_) for id_ in upserted.address_ids])
