"""The Python words are those of the contracts, name by name and number by number."""

from enum import IntEnum

import pytest
from google.protobuf.descriptor import FileDescriptor

from clarion.broadcast.v1 import broadcast_service_pb2
from clarion.errors.v1 import error_reason_pb2
from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.provider.v1 import provider_service_pb2
from clarion.types.v1 import channel_pb2
from clarion_kit import vocabulary
from clarion_kit.errors import ErrorReason, status_code

STATES = state_pb2.DESCRIPTOR
TYPES = channel_pb2.DESCRIPTOR
PAIRS: dict[type[IntEnum], tuple[str, FileDescriptor]] = {
    vocabulary.Channel: ("CHANNEL_", TYPES),
    vocabulary.Priority: ("PRIORITY_", TYPES),
    vocabulary.NotificationState: ("NOTIFICATION_STATE_", STATES),
    vocabulary.DeliveryState: ("DELIVERY_STATE_", STATES),
    vocabulary.Receipt: ("RECEIPT_", STATES),
    vocabulary.Reason: ("REASON_", STATES),
    vocabulary.Gate: ("GATE_", STATES),
    vocabulary.Verdict: ("VERDICT_", STATES),
    vocabulary.EventKind: ("EVENT_KIND_", notification_service_pb2.DESCRIPTOR),
    vocabulary.BroadcastState: ("BROADCAST_STATE_", broadcast_service_pb2.DESCRIPTOR),
    vocabulary.StopReason: ("STOP_REASON_", provider_service_pb2.DESCRIPTOR),
    ErrorReason: ("ERROR_REASON_", error_reason_pb2.DESCRIPTOR),
}


@pytest.mark.parametrize("ours", PAIRS, ids=lambda enum: enum.__name__)
def test_enum_equals_the_contract(ours: type[IntEnum]) -> None:
    prefix, contract = PAIRS[ours]
    theirs = contract.enum_types_by_name[ours.__name__].values

    assert {f"{prefix}{word.name}": word.value for word in ours} == {
        value.name: value.number for value in theirs if value.number
    }


def test_every_word_is_compared_with_its_contract() -> None:
    words = {value for value in vars(vocabulary).values() if isinstance(value, type) and issubclass(value, IntEnum)}

    assert words - {IntEnum, vocabulary.Word} == set(PAIRS) - {ErrorReason}


def test_number_of_a_newer_version_is_a_word_of_its_own() -> None:
    newer = vocabulary.Priority(9)

    assert (newer.value, newer.name, newer.slug, newer.known) == (9, "UNKNOWN_9", "unknown_9", False)
    assert newer == vocabulary.Priority(9)
    assert newer not in list(vocabulary.Priority)
    assert vocabulary.Priority.URGENT.known


def test_every_error_reason_has_one_status_code() -> None:
    assert all(status_code(reason).value[0] > 0 for reason in ErrorReason)


def test_terminal_states_are_those_from_sent_upwards() -> None:
    state = vocabulary.DeliveryState

    assert {s for s in state if s.terminal} == {
        state.SENT,
        state.FAILED,
        state.SUPPRESSED,
        state.EXPIRED,
        state.CANCELLED,
        state.DEAD_LETTERED,
    }
