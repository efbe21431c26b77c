"""Faults of requests that carry addresses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clarion_kit.errors import DomainError, ErrorReason, invalid_fields
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.malformed import Malformed


class RequestFaults(Faults):
    """Ends the request with INVALID_ADDRESS where nothing but addresses is at fault, else with INVALID_FIELD."""

    def __init__(self) -> None:
        super().__init__()
        self._address_faults = 0
        self._channels: set[Channel] = set()

    def read(self, field: str, value: str, reader: Callable[[str], str]) -> str:
        """The normal form of a required value; empty if it is at fault."""
        if not self.require(field, bool(value), "required"):
            return ""
        try:
            return reader(value)
        except Malformed as malformed:
            self.add(field, str(malformed))
            return ""

    def read_optional(self, field: str, value: str, reader: Callable[[str], str]) -> str:
        """The normal form of a value, empty if it is empty or at fault."""
        return self.read(field, value, reader) if value else ""

    @contextmanager
    def address(self, path: str, channel: Channel) -> Iterator[None]:
        """What is found inside, under `path`, are faults of an address of `channel`."""
        before = len(self._faults)
        with self.within(f"{path}."):
            yield
        found = len(self._faults) - before
        if found:
            self._address_faults += found
            self._channels.add(channel)

    def error(self) -> DomainError:
        """INVALID_FIELD or INVALID_ADDRESS with every fault; to be raised where one was found."""
        if self._address_faults < len(self._faults):
            return invalid_fields(self._faults)
        message = "; ".join(f"{fault.field}: {fault.description}" for fault in self._faults[:5])
        channels = ",".join(channel.slug for channel in sorted(self._channels))
        return DomainError(ErrorReason.INVALID_ADDRESS, message, metadata={"channel": channels}, fields=self._faults)

    def raise_if_any(self) -> None:
        """Raises `error` if a fault was found."""
        if self.found:
            raise self.error()
