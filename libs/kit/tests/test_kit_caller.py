"""Callers and their scopes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import SCOPES, Caller, caller_from_metadata
from clarion_kit.vocabulary import Channel


@given(st.integers(0, 2**31 - 1), st.text("abc0_", max_size=9), st.sets(st.sampled_from(sorted(SCOPES))))
def test_caller_arrives_as_the_gateway_handed_it_on(app_id: int, key: str, scopes: set[str]) -> None:
    caller = Caller("gateway", app_id, key, frozenset(scopes))

    assert caller_from_metadata("gateway", dict(caller.metadata())) == caller


@pytest.mark.parametrize("metadata", [{}, {"clarion-app": "x"}, {"clarion-app": "-1"}])
def test_daemon_without_an_app_calls_for_itself(metadata: dict[str, str]) -> None:
    assert caller_from_metadata("planner", metadata) == Caller("planner")


@pytest.mark.parametrize("scope", ["none", "any", "send", "status:read"])
def test_held_scope_is_enough(scope: str) -> None:
    Caller("gateway", 1, "k", frozenset({"send:sms", "status:read"})).require(scope)


@pytest.mark.parametrize("scope", ["send", "admin"])
def test_missing_scope_is_named(scope: str) -> None:
    with pytest.raises(DomainError) as refused:
        Caller("gateway", 1, "k", frozenset({"status:read"})).require(scope)

    assert (refused.value.reason, refused.value.metadata) == (ErrorReason.SCOPE_MISSING, {"scope": scope})


def test_channel_needs_its_scope_or_all() -> None:
    assert Caller("g", scopes=frozenset({"send:sms"})).may_send(Channel.SMS)
    assert Caller("g", scopes=frozenset({"send:*"})).may_send(Channel.EMAIL)
    assert not Caller("g", scopes=frozenset({"send:sms"})).may_send(Channel.EMAIL)
