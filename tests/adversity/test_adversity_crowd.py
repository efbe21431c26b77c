"""The reckoning of a broadcast finds who was left out, got it twice, or got it though erased, and nothing else."""

import pytest

from clarion_kit.vocabulary import DeliveryState as D

from .crowd import AFTER_ERASURE_SECONDS, Audience, Sending, complaints, too_late

SENT = Sending(D.SENT, arrivals=[1.0])
CANCELLED = Sending(D.CANCELLED)


@pytest.mark.parametrize(
    ("audience", "children"),
    [
        (Audience(["a", "b"]), {"a": [SENT], "b": [SENT, SENT]}),
        (Audience(["a", "b"], erased=["b"]), {"a": [SENT], "b": [CANCELLED]}),
        (Audience(["a", "b"], erased=["b"]), {"a": [SENT]}),
        (Audience(["a", "b"], merged={"b": "a"}), {"a": [SENT]}),
        (Audience(["a", "b"], merged={"b": "a"}), {"b": [SENT]}),
        (Audience(["a"]), {"a": [Sending(D.SENT, may_repeat=True, arrivals=[1.0, 2.0])]}),
        (Audience(["a"]), {"a": [SENT, Sending(D.CANCELLED, may_repeat=True, arrivals=[1.0])]}),
    ],
)
def test_what_everybody_is_owed_is_no_complaint(audience: Audience, children: dict[str, list[Sending]]) -> None:
    assert list(complaints(audience, children)) == []


@pytest.mark.parametrize(
    ("audience", "children", "complaint"),
    [
        (Audience(["a", "b"]), {"a": [SENT]}, "without a child that was sent, such as b"),
        (Audience(["a"]), {"a": [CANCELLED]}, "without a child that was sent, such as a"),
        (Audience(["a", "b"], merged={"b": "a"}), {"b": [CANCELLED]}, "without a child that was sent, such as a"),
        (Audience(["a"]), {"a": [SENT, Sending(D.READY)]}, "has not ended"),
        (Audience(["a"]), {"a": [Sending(D.SENT)]}, "is nowhere"),
        (Audience(["a"]), {"a": [SENT, Sending(D.CANCELLED, arrivals=[1.0])]}, "knows nothing of"),
        (Audience(["a"]), {"a": [Sending(D.SENT, arrivals=[1.0, 2.0])]}, "twice without a word"),
    ],
)
def test_each_wrong_is_a_complaint(audience: Audience, children: dict[str, list[Sending]], complaint: str) -> None:
    [found] = complaints(audience, children)

    assert complaint in found


def test_call_for_an_erased_one_that_begins_a_while_after_is_told() -> None:
    erased = {"a": 10.0, "b": 10.0, "c": 10.0}
    calls = {"a": [9.0, 10.0 + AFTER_ERASURE_SECONDS - 0.1], "b": [10.5 + AFTER_ERASURE_SECONDS]}

    assert too_late(erased, calls) == ["b 1.75 s after"]
