"""RecipientService: people and where they can be reached."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import grpc

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.types.v1 import address_pb2
from clarion_client._batches import Packer
from clarion_client._rpc import ServiceContract
from clarion_client._status import from_status
from clarion_client.errors import ClarionError, Internal
from clarion_client.recipient import RecipientLike, recipient_proto

_contract = ServiceContract(pb.DESCRIPTOR, "RecipientService")

UPSERT_MANY = _contract.method("UpsertRecipients", pb.UpsertRecipientsRequest, pb.UpsertRecipientsResponse)
MAX_UPSERTS = 500

UpsertOutcome = pb.UpsertRecipientResponse | ClarionError
"""What came of one recipient of many; an error is given, not raised."""


class RecipientCalls:
    """What is done to one recipient."""

    @_contract.rpc("UpsertRecipient", pb.UpsertRecipientRequest, pb.UpsertRecipientResponse)
    def upsert(self, recipient: RecipientLike) -> pb.UpsertRecipientRequest:
        """Creates or updates a recipient; given addresses are added or refreshed, none is removed.

        Raises InvalidArgument (INVALID_FIELD, INVALID_ADDRESS).
        """
        return pb.UpsertRecipientRequest(recipient=recipient_proto(recipient))

    @_contract.rpc("GetRecipient", pb.GetRecipientRequest, pb.GetRecipientResponse)
    def get(self, recipient_id: str) -> pb.GetRecipientRequest:
        """One recipient, addresses masked. Raises NotFound (RECIPIENT_NOT_FOUND)."""
        return pb.GetRecipientRequest(recipient_id=recipient_id)

    @_contract.rpc("RegisterAddress", pb.RegisterAddressRequest, pb.RegisterAddressResponse)
    def register_address(
        self, recipient_id: str, address: address_pb2.Address, *, facts: pb.AddressFacts | None = None
    ) -> pb.RegisterAddressRequest:
        """Registers an address at app start or sign-up: new, refreshed, or taken over from another recipient. `facts`
        (app version, device name, verified) replace what is stored of it; None keeps that.

        Raises NotFound (RECIPIENT_NOT_FOUND), InvalidArgument (INVALID_ADDRESS, INVALID_FIELD).
        """
        return pb.RegisterAddressRequest(recipient_id=recipient_id, address=address, facts=facts)

    @_contract.rpc("RemoveAddress", pb.RemoveAddressRequest, pb.RemoveAddressResponse)
    def remove_address(self, recipient_id: str, address: str | address_pb2.Address) -> pb.RemoveAddressRequest:
        """Removes an address (sign-out), given by its id or by itself. Raises NotFound (RECIPIENT_NOT_FOUND)."""
        if isinstance(address, str):
            return pb.RemoveAddressRequest(recipient_id=recipient_id, address_id=address)
        return pb.RemoveAddressRequest(recipient_id=recipient_id, address=address)

    @_contract.rpc("ExportRecipient", pb.ExportRecipientRequest, pb.ExportRecipientResponse)
    def export(self, recipient_id: str) -> pb.ExportRecipientRequest:
        """Everything that is kept of a person, opened. Raises NotFound (RECIPIENT_NOT_FOUND)."""
        return pb.ExportRecipientRequest(recipient_id=recipient_id)

    @_contract.rpc("MergeRecipients", pb.MergeRecipientsRequest, pb.MergeRecipientsResponse)
    def merge(self, into_recipient_id: str, from_recipient_id: str) -> pb.MergeRecipientsRequest:
        """Makes two recipients of one person one; the second id goes on as another name of the first. Of wishes the
        stricter holds.

        Raises NotFound (RECIPIENT_NOT_FOUND), InvalidArgument (INVALID_FIELD: into itself, one was merged elsewhere).
        """
        return pb.MergeRecipientsRequest(into_recipient_id=into_recipient_id, from_recipient_id=from_recipient_id)

    @_contract.rpc("EraseRecipient", pb.EraseRecipientRequest, pb.EraseRecipientResponse)
    def erase(self, recipient_id: str) -> pb.EraseRecipientRequest:
        """Removes a person and everything personal; what is in flight ends cancelled. Cannot be undone.

        Raises NotFound (RECIPIENT_NOT_FOUND) for one that never was.
        """
        return pb.EraseRecipientRequest(recipient_id=recipient_id)


def upsert_chunks(recipients: Iterable[RecipientLike]) -> Iterator[pb.UpsertRecipientsRequest]:
    """Requests of at most 500 recipients and of the bytes the server takes; a larger one stands alone."""
    waiting = (recipient_proto(recipient) for recipient in recipients)
    while chunk := list(islice(waiting, MAX_UPSERTS)):
        yield from _within_bytes(chunk)


def import_packer() -> Packer[pb.Recipient]:
    """Batches that an import sends: of two changes of one recipient the second is of a later batch."""
    return Packer(
        max_bytes=UPSERT_MANY.max_request_bytes, max_items=MAX_UPSERTS, key=lambda recipient: recipient.recipient_id
    )


def upsert_outcomes(request: pb.UpsertRecipientsRequest, answer: pb.UpsertRecipientsResponse) -> list[UpsertOutcome]:
    """One outcome per recipient, in order. Raises Internal when the server breaks the contract with another number."""
    if len(answer.results) != len(request.recipients):
        raise Internal(
            f"{len(request.recipients)} recipients were answered with {len(answer.results)} results",
            code=grpc.StatusCode.INTERNAL,
        )
    return [
        result.stored if result.WhichOneof("result") == "stored" else from_status(result.error)
        for result in answer.results
    ]


def _within_bytes(chunk: Sequence[pb.Recipient]) -> Iterator[pb.UpsertRecipientsRequest]:
    request = pb.UpsertRecipientsRequest(recipients=chunk)
    if len(chunk) == 1 or request.ByteSize() <= UPSERT_MANY.max_request_bytes:
        yield request
        return
    middle = len(chunk) // 2
    yield from _within_bytes(chunk[:middle])
    yield from _within_bytes(chunk[middle:])
