"""Field validation at the edge: collect every fault, then raise once."""

import re
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from clarion_kit.errors import FieldFault, invalid_fields

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Names of apps, categories, templates and providers."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""C0, DEL and C1: no name or header may hold one."""
_UNSTORABLE = re.compile(r"\x00")
"""What even a text of several lines must not hold: Postgres stores no NUL."""


class Faults:
    """Gathers faults of one request; `raise_if_any` ends the request with all of them."""

    __slots__ = ("_faults", "_path")

    def __init__(self) -> None:
        self._faults: list[FieldFault] = []
        self._path = ""

    def add(self, field: str, description: str) -> None:
        self._faults.append(FieldFault(f"{self._path}{field}", description))

    def within(self, path: str) -> AbstractContextManager[None]:
        """Prefix the fields checked inside, e.g. "notification." or "addresses[2]."."""
        return _Within(self, path)

    def require(self, field: str, holds: bool, description: str) -> bool:
        if not holds:
            self.add(field, description)
        return holds

    def text(self, field: str, value: str, *, max_bytes: int, required: bool = True, lines: bool = False) -> bool:
        """A text of 1 (0 if optional) to `max_bytes` bytes without NUL and, unless `lines`, control characters."""
        if not value:
            return self.require(field, not required, "required")
        if len(value.encode()) > max_bytes:
            self.add(field, f"longer than {max_bytes} bytes")
            return False
        if (_UNSTORABLE if lines else _CONTROL).search(value):
            self.add(field, "contains control characters")
            return False
        return True

    def name(self, field: str, value: str) -> bool:
        """A name: 1-64 of a-z 0-9 _ -, starting with a letter or digit."""
        return self.require(field, NAME.fullmatch(value) is not None, "must be 1-64 of a-z 0-9 _ -")

    @property
    def found(self) -> bool:
        return bool(self._faults)

    def raise_if_any(self) -> None:
        """Raises DomainError INVALID_FIELD."""
        if self._faults:
            raise invalid_fields(self._faults)


class _Within:
    """A path while inside. No generator: every notification enters some."""

    __slots__ = ("_before", "_faults", "_path")

    def __init__(self, faults: Faults, path: str) -> None:
        self._faults, self._path, self._before = faults, path, ""

    def __enter__(self) -> None:
        self._before = self._faults._path
        self._faults._path = self._before + self._path

    def __exit__(self, *raised: object) -> None:
        self._faults._path = self._before


def moment(faults: Faults, field: str, stamp: Timestamp) -> datetime | None:
    """A time of the contract, whose numbers may be no time at all: aware UTC, years 1 to 9999; None and a fault for what is
    no time."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        faults.add(field, "no valid time")
        return None
