"""A person and where to reach them, as a Python value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.types.v1 import address_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A recipient to store; empty fields take the contract's defaults. Addresses and attributes stay out of `repr`.

    `attributes` replace those that are stored (None keeps them); of them `filterable` names those that are not personal:
    audiences may be chosen by them, and they rest as they are. The others rest sealed.
    """

    recipient_id: str
    locale: str = ""
    time_zone: str = ""
    country: str = ""
    addresses: Sequence[address_pb2.Address] = field(default=(), repr=False)
    wishes: pb.Wishes | None = None
    attributes: Mapping[str, str] | None = field(default=None, repr=False)
    filterable: Collection[str] = ()

    def to_proto(self) -> pb.Recipient:
        return pb.Recipient(
            recipient_id=self.recipient_id,
            locale=self.locale,
            time_zone=self.time_zone,
            country=self.country,
            addresses=self.addresses,
            wishes=self.wishes,
            attributes=None if self.attributes is None else self._attributes(self.attributes),
        )

    def _attributes(self, attributes: Mapping[str, str]) -> pb.Attributes:
        return pb.Attributes(
            attributes=[
                pb.Attribute(key=key, value=value, filterable=key in self.filterable)
                for key, value in attributes.items()
            ]
        )


RecipientLike = Recipient | pb.Recipient


def recipient_proto(recipient: RecipientLike) -> pb.Recipient:
    return recipient.to_proto() if isinstance(recipient, Recipient) else recipient
