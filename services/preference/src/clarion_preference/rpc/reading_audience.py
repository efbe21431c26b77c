"""Audiences of requests as domain values, every fault named."""

from datetime import UTC, datetime, timedelta

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion_kit.validate import Faults
from clarion_preference.audiences import Audience, Condition, Page

MAX_PAGE = 5_000
MAX_CONDITIONS = 8
MAX_VALUES = 100
_MAX_VALUE_BYTES = 256
_REFERENCE_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MILLISECONDS = 253_402_300_799_999
"""The last millisecond of the year 9999, where Python's calendar ends."""


def read_page(request: pb.ListAudienceRequest) -> Page:
    """Raises INVALID_FIELD with every fault."""
    faults = Faults()
    faults.require("app_id", request.app_id > 0, "required")
    faults.require("audience", request.HasField("audience"), "required")
    with faults.within("audience."):
        audience = _audience(faults, request.audience)
    faults.require("after", len(request.after) in (0, _REFERENCE_BYTES), "must be empty or 16 bytes")
    faults.require("page_size", 1 <= request.page_size <= MAX_PAGE, f"must be 1-{MAX_PAGE:,}")
    faults.require("as_of_ms", 0 < request.as_of_ms <= _MAX_MILLISECONDS, "required")
    faults.raise_if_any()
    as_of = _EPOCH + timedelta(milliseconds=request.as_of_ms)
    return Page(audience, as_of, request.after or bytes(_REFERENCE_BYTES), request.page_size)


def _audience(faults: Faults, message: recipient.Audience) -> Audience:
    if message.topic:
        faults.name("topic", message.topic)
        faults.require("filter", not message.filter, "must be empty with a topic")
    if not faults.require("filter", len(message.filter) <= MAX_CONDITIONS, f"more than {MAX_CONDITIONS}"):
        return Audience(message.topic)
    conditions: list[Condition] = []
    for index, match in enumerate(message.filter):
        with faults.within(f"filter[{index}]."):
            faults.name("key", match.key)
            values = tuple(match.values)
            if faults.require("values", 1 <= len(values) <= MAX_VALUES, f"must be 1-{MAX_VALUES}"):
                for place, value in enumerate(values):
                    faults.text(f"values[{place}]", value, max_bytes=_MAX_VALUE_BYTES)
                # Each value is walked by itself: one given twice would give its recipients twice.
                faults.require("values", len(set(values)) == len(values), "must not repeat")
        conditions.append(Condition(match.key, values))
    return Audience(message.topic, tuple(conditions))
