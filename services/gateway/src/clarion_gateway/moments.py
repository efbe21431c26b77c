"""Times of the contract, whose numbers may be no time at all."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from clarion_kit.validate import Faults


def moment(faults: Faults, field: str, stamp: Timestamp) -> datetime | None:
    """Aware UTC, years 1 to 9999; None and a fault for what is no time."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        faults.add(field, "no valid time")
        return None
