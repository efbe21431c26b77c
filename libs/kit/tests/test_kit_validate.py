"""Faults gathers everything that is wrong with a request and refuses it once."""

from datetime import timedelta

import pytest
from google.rpc import error_details_pb2

from clarion_kit.errors import DOMAIN, DomainError, ErrorReason, FieldFault, invalid_fields, unavailable
from clarion_kit.validate import Faults


def refusal(faults: Faults) -> DomainError:
    with pytest.raises(DomainError) as refused:
        faults.raise_if_any()
    return refused.value


def test_sound_request_is_let_through() -> None:
    faults = Faults()

    assert faults.text("title", "Hello", max_bytes=5)
    assert faults.text("note", "", max_bytes=5, required=False)
    assert faults.text("body", "a\nb\tc", max_bytes=5, lines=True)
    assert faults.name("app", "shop-1_a")
    assert faults.require("count", True, "must be positive")
    assert not faults.found
    faults.raise_if_any()


def test_every_fault_is_named_by_its_path() -> None:
    faults = Faults()
    faults.text("title", "", max_bytes=5)
    with faults.within("notification."), faults.within("recipients[2]."):
        faults.name("id", "Not A Name")
        faults.require("count", False, "must be positive")
    faults.add("last", "is odd")

    refused = refusal(faults)

    assert refused.reason is ErrorReason.INVALID_FIELD
    assert refused.fields == (
        FieldFault("title", "required"),
        FieldFault("notification.recipients[2].id", "must be 1-64 of a-z 0-9 _ -"),
        FieldFault("notification.recipients[2].count", "must be positive"),
        FieldFault("last", "is odd"),
    )


@pytest.mark.parametrize(
    ("value", "lines"), [("a\0b", True), ("a\0b", False), ("a\nb", False), ("a\x1b", False), ("\x7f", False)]
)
def test_control_characters_are_refused(value: str, lines: bool) -> None:
    assert not Faults().text("title", value, max_bytes=10, lines=lines)


def test_length_counts_bytes() -> None:
    faults = Faults()

    assert faults.text("title", "éé", max_bytes=4)
    assert not faults.text("title", "ééé", max_bytes=5)


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a b", "a" * 65, "ä", "a\n"])
def test_faulty_name_is_refused(name: str) -> None:
    assert not Faults().name("name", name)


def test_path_ends_with_its_block_even_after_an_error() -> None:
    faults = Faults()
    with pytest.raises(KeyError), faults.within("inner."):
        raise KeyError
    faults.add("title", "required")

    assert refusal(faults).fields == (FieldFault("title", "required"),)


def test_status_has_one_error_info_and_one_bad_request() -> None:
    faults = [FieldFault(f"f{n}", "is odd") for n in range(7)]

    status = invalid_fields(faults).to_status()

    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert len(status.details) == 2
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad_request)
    assert (info.reason, info.domain) == ("INVALID_FIELD", DOMAIN)
    assert [violation.field for violation in bad_request.field_violations] == [f"f{n}" for n in range(7)]


def test_status_says_when_another_try_may_do_better() -> None:
    refused = DomainError(ErrorReason.QUOTA_EXCEEDED, "used up", retry_after=timedelta(milliseconds=1_500))

    retry_info = error_details_pb2.RetryInfo()
    assert refused.to_status().details[1].Unpack(retry_info)
    assert retry_info.retry_delay.ToTimedelta() == timedelta(milliseconds=1_500)


def test_dependency_that_is_away_is_named() -> None:
    refused = unavailable("ledger")

    assert (refused.reason, refused.metadata) == (ErrorReason.DEPENDENCY_UNAVAILABLE, {"dependency": "ledger"})
    assert [detail.TypeName() for detail in refused.to_status().details] == ["google.rpc.ErrorInfo"]
