"""A person and where to reach them, as a Python value."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.types.v1 import address_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A recipient to store; empty fields take the contract's defaults. Addresses stay out of `repr`."""

    recipient_id: str
    locale: str = ""
    time_zone: str = ""
    country: str = ""
    addresses: Sequence[address_pb2.Address] = field(default=(), repr=False)
    wishes: pb.Wishes | None = None

    def to_proto(self) -> pb.Recipient:
        return pb.Recipient(
            recipient_id=self.recipient_id,
            locale=self.locale,
            time_zone=self.time_zone,
            country=self.country,
            addresses=self.addresses,
            wishes=self.wishes,
        )


RecipientLike = Recipient | pb.Recipient


def recipient_proto(recipient: RecipientLike) -> pb.Recipient:
    return recipient.to_proto() if isinstance(recipient, Recipient) else recipient
