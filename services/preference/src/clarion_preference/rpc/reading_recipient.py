"""Recipients of requests as domain values, every fault named."""

from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion_kit.validate import Faults
from clarion_preference import places
from clarion_preference.addresses import Address
from clarion_preference.attributes import MAX_ATTRIBUTES, AddressFacts, Attribute
from clarion_preference.recipients import RecipientUpdate
from clarion_preference.rpc.faults import RequestFaults
from clarion_preference.rpc.reading_address import read_address
from clarion_preference.rpc.reading_wishes import read_wishes

MAX_RECIPIENT_ID_BYTES = 128
MAX_ADDRESSES = 32
_MAX_VALUE_BYTES = 256
_MAX_VERSION_BYTES = 64
_MAX_DEVICE_NAME_BYTES = 128


def read_recipient_id(faults: Faults, value: str, field: str = "recipient_id") -> str:
    faults.text(field, value, max_bytes=MAX_RECIPIENT_ID_BYTES)
    return value


def read_recipient(path: str, message: recipient.Recipient, *, private_hosts: bool = False) -> RecipientUpdate:
    """Raises INVALID_FIELD or INVALID_ADDRESS with every fault of the recipient, its fields under `path`."""
    faults = RequestFaults()
    with faults.within(f"{path}."):
        update = RecipientUpdate(
            recipient_id=read_recipient_id(faults, message.recipient_id),
            locale=faults.read_optional("locale", message.locale, places.locale),
            time_zone=faults.read_optional("time_zone", message.time_zone, places.time_zone),
            country=faults.read_optional("country", message.country, places.country),
            addresses=_addresses(faults, message, private_hosts),
            wishes=read_wishes(faults, "wishes", message.wishes) if message.HasField("wishes") else None,
            attributes=_attributes(faults, message.attributes) if message.HasField("attributes") else None,
        )
    faults.raise_if_any()
    return update


def read_facts(faults: Faults, message: recipient.AddressFacts) -> AddressFacts:
    with faults.within("facts."):
        faults.text("app_version", message.app_version, max_bytes=_MAX_VERSION_BYTES, required=False)
        faults.text("device_name", message.device_name, max_bytes=_MAX_DEVICE_NAME_BYTES, required=False)
    return AddressFacts(message.app_version, message.device_name, message.verified)


def _attributes(faults: Faults, message: recipient.Attributes) -> tuple[Attribute, ...]:
    given = message.attributes
    if not faults.require("attributes", len(given) <= MAX_ATTRIBUTES, f"more than {MAX_ATTRIBUTES}"):
        return ()
    read: dict[str, Attribute] = {}
    for index, attribute in enumerate(given):
        with faults.within(f"attributes.attributes[{index}]."):
            faults.name("key", attribute.key)
            faults.require("key", attribute.key not in read, "given twice")
            faults.text("value", attribute.value, max_bytes=_MAX_VALUE_BYTES)
        read[attribute.key] = Attribute(attribute.key, attribute.value, attribute.filterable)
    return tuple(read.values())


def _addresses(faults: RequestFaults, message: recipient.Recipient, private_hosts: bool) -> tuple[Address, ...]:
    if not faults.require("addresses", len(message.addresses) <= MAX_ADDRESSES, f"more than {MAX_ADDRESSES}"):
        return ()
    read = [
        read_address(faults, f"addresses[{index}]", address, private_hosts=private_hosts)
        for index, address in enumerate(message.addresses)
    ]
    return tuple(address for address in read if address is not None)
