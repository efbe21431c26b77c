"""Attributes as stored: those that are not personal as they are, the others sealed in one document."""

import json
from collections.abc import Iterable, Mapping
from uuid import UUID

from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion_kit.sealing import AppSealer
from clarion_preference.attributes import Attribute
from clarion_preference.wire import attributes_from_proto, attributes_to_proto

_TABLE = "recipient"
_COLUMN = "attributes"


def seal_attributes(sealer: AppSealer, owner: UUID, attributes: Iterable[Attribute]) -> tuple[str, bytes]:
    """The JSON object of the filterable ones, and the sealed rest. `owner`: the recipient's reference."""
    rest: list[Attribute] = []
    filterable: dict[str, str] = {}
    for attribute in attributes:
        if attribute.filterable:
            filterable[attribute.key] = attribute.value
        else:
            rest.append(attribute)
    document = attributes_to_proto(rest).SerializeToString(deterministic=True)
    return json.dumps(filterable, sort_keys=True), sealer.seal(_TABLE, owner.bytes, _COLUMN, document)


def unseal_attributes(
    sealer: AppSealer, owner: UUID, filterable: str | None, sealed: bytes | None
) -> tuple[Attribute, ...]:
    """By key. Raises Unsealable."""
    shown: Mapping[str, str] = json.loads(filterable) if filterable else {}
    found = [Attribute(key, value, filterable=True) for key, value in shown.items()]
    if sealed is not None:
        document = recipient.Attributes.FromString(sealer.open(_TABLE, owner.bytes, _COLUMN, sealed))
        found += attributes_from_proto(document)
    return tuple(sorted(found, key=lambda attribute: attribute.key))
