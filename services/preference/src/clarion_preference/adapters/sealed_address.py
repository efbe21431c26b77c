"""Addresses as stored: an id and a blind index to find them by, and the sealed address."""

import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from clarion.types.v1 import address_pb2
from clarion_kit.sealing import AppSealer
from clarion_preference.addresses import Address
from clarion_preference.wire import address_from_proto, address_to_proto

_TABLE = "address"
_COLUMN = "address"


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored form of one address."""

    address_id: UUID
    channel: int
    hint: str
    blind_index: bytes
    sealed: bytes = field(repr=False)


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
    return Stored(id_, address.channel, address.hint, index, sealer.seal(_TABLE, id_.bytes, _COLUMN, plaintext))


def unseal(sealer: AppSealer, id_: UUID, sealed: bytes) -> Address:
    """Raises Unsealable."""
    return address_from_proto(address_pb2.Address.FromString(sealer.open(_TABLE, id_.bytes, _COLUMN, sealed)))
