"""Whoever tries what they may not is told by name, and cannot fill the log with it."""

import logging

import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.refusals import MOST, SPAN_SECONDS, Refusals
from clarion_kit.rpc.server import MeshAuthenticator

METHOD = "/clarion.internal.template.v1.TemplateService/Render"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_refusal_tells_caller_method_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    Refusals().note("ck_1", METHOD, ErrorReason.SCOPE_MISSING)

    [record] = caplog.records
    told = vars(record)
    assert (told["caller"], told["method"], told["reason"]) == ("ck_1", METHOD, "SCOPE_MISSING")
    assert record.levelno == logging.WARNING


def test_more_than_a_minutes_share_is_told_as_a_number(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(MOST + 40):
        refusals.note("ck_1", METHOD, ErrorReason.SCOPE_MISSING)
    assert len(caplog.records) == MOST
    caplog.clear()
    clock.now += SPAN_SECONDS

    refusals.note("ck_2", METHOD, ErrorReason.SCOPE_MISSING)

    assert [record.getMessage() for record in caplog.records] == ["refused 40 more calls in a minute", "refused"]


def test_quiet_minute_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(3):
        refusals.note("ck_1", METHOD, ErrorReason.SCOPE_MISSING)
        clock.now += SPAN_SECONDS

    assert [record.getMessage() for record in caplog.records] == ["refused"] * 3


def test_daemon_outside_of_the_matrix_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DomainError):
        MeshAuthenticator(insecure=False).authenticate(METHOD, {}, frozenset({"tracker"}))

    [record] = caplog.records
    assert vars(record)["caller"] == "tracker"
