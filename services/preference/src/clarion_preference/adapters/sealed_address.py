"""Addresses as stored: an id and a blind index to find them by, and the sealed address."""

import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from clarion.recipient.v1 import recipient_service_pb2
from clarion.types.v1 import address_pb2
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import AppSealer
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.number_hints import number_hint
from clarion_preference.addresses import Address, PhoneNumber
from clarion_preference.attributes import AddressFacts
from clarion_preference.wire import address_from_proto, address_to_proto, facts_from_proto, facts_to_proto

_TABLE = "address"
_COLUMN = "address"
_FACTS = "facts"


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored form of one address."""

    address_id: UUID
    channel: int
    hint: str
    blind_index: bytes
    sealed: bytes = field(repr=False)


async def app_sealer(keys: KeyRing, app_id: int) -> AppSealer:
    """Raises APP_NOT_FOUND."""
    try:
        return await keys.sealer(app_id)
    except KeyError:
        raise DomainError(ErrorReason.APP_NOT_FOUND, "there is no such app", metadata={"app": str(app_id)}) from None


def blind_index(sealer: AppSealer, address: Address) -> bytes:
    """Equal for two addresses of an app that are the same."""
    return sealer.blind_index(f"address {address.channel.slug}", address.identity.encode())


def address_id(app_id: int, index: bytes) -> UUID:
    """The same for the same address, whoever registers it and however often."""
    return UUID(bytes=hashlib.sha256(b"clarion address\0%d\0%s" % (app_id, index)).digest()[:16])


def seal(sealer: AppSealer, app_id: int, address: Address) -> Stored:
    index = blind_index(sealer, address)
    id_ = address_id(app_id, index)
    plaintext = address_to_proto(address).SerializeToString()
    # A number's hint needs the app's key, so it is not the address's own.
    hint = number_hint(sealer, address) if isinstance(address, PhoneNumber) else address.hint
    return Stored(id_, address.channel, hint, index, sealer.seal(_TABLE, id_.bytes, _COLUMN, plaintext))


def unseal(sealer: AppSealer, id_: UUID, sealed: bytes) -> Address:
    """Raises Unsealable."""
    return address_from_proto(address_pb2.Address.FromString(sealer.open(_TABLE, id_.bytes, _COLUMN, sealed)))


def seal_facts(sealer: AppSealer, id_: UUID, facts: AddressFacts) -> bytes:
    return sealer.seal(_TABLE, id_.bytes, _FACTS, facts_to_proto(facts).SerializeToString())


def unseal_facts(sealer: AppSealer, id_: UUID, sealed: bytes) -> AddressFacts:
    """Raises Unsealable."""
    return facts_from_proto(
        recipient_service_pb2.AddressFacts.FromString(sealer.open(_TABLE, id_.bytes, _FACTS, sealed))
    )
