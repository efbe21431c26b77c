"""References of concatenated messages: none twice on one phone within minutes."""

from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.text import references
from clarion_channels.text.references import References
from clarion_channels.text.segments import ReferenceBits

NUMBER = "+821012345678"


@pytest.mark.parametrize(("bits", "size"), [(8, 256), (16, 65_536)])
def test_number_sees_every_reference_before_one_comes_again(bits: ReferenceBits, size: int) -> None:
    counted = References(bits)
    seen = [counted.take(NUMBER, uuid4()) for _ in range(size)]
    assert sorted(seen) == list(range(size))
    assert counted.take(NUMBER, uuid4()) == seen[0]


@given(st.lists(st.sampled_from([f"+8210{n:08}" for n in range(6)]), max_size=200))
def test_messages_to_others_do_not_bring_a_reference_back(numbers: list[str]) -> None:
    counted = References(8)
    mine = []
    for number in numbers:
        reference = counted.take(number, uuid4())
        if number == numbers[0]:
            mine.append(reference)
    assert len(set(mine)) == len(mine)


def test_two_processes_and_two_numbers_begin_anywhere() -> None:
    starts = {References(16).take(NUMBER, uuid4()) for _ in range(20)}
    counted = References(16)
    starts |= {counted.take(f"+8210{n:08}", uuid4()) for n in range(20)}
    assert len(starts) > 30
    assert any(abs(one - other) > 1 for one, other in pairwise(sorted(starts)))


def test_unfinished_message_keeps_its_reference_for_one_more_try() -> None:
    counted, delivery = References(8), uuid4()
    first = counted.take(NUMBER, delivery)
    counted.keep(delivery, first)
    other = counted.take(NUMBER, uuid4())
    assert counted.take(NUMBER, delivery) == first != other
    assert counted.take(NUMBER, delivery) not in (first, other)


def test_memory_of_unfinished_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MAX_UNFINISHED", 2)
    counted, deliveries = References(8), [uuid4() for _ in range(3)]
    kept = [counted.take(NUMBER, delivery) for delivery in deliveries]
    for delivery, reference in zip(deliveries, kept, strict=True):
        counted.keep(delivery, reference)
    again = [counted.take(NUMBER, delivery) for delivery in deliveries]
    assert again[1:] == kept[1:]
    assert again[0] != kept[0]
