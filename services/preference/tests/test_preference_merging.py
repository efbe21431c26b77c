"""What holds when two recipients turn out to be one person."""

from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel
from clarion_preference.attributes import MAX_ATTRIBUTES, Attribute, joined
from clarion_preference.domain import Question, Wishes, closed_gate
from clarion_preference.merging import stricter
from clarion_preference.quiet import QuietWindow

CATEGORIES = ["news", "offers"]
windows = st.builds(QuietWindow, st.integers(0, 700), st.integers(701, 1439))
wishes = st.builds(
    Wishes,
    opted_out=st.booleans(),
    channels_off=st.frozensets(st.sampled_from(Channel), max_size=2),
    choices=st.dictionaries(
        st.tuples(st.sampled_from(CATEGORIES), st.one_of(st.none(), st.sampled_from(Channel))),
        st.booleans(),
        max_size=5,
    ),
    quiet_hours=st.one_of(st.none(), windows),
    quiet_windows=st.lists(windows, max_size=2).map(tuple),
    channel_order=st.permutations(list(Channel)).map(tuple),
)


@given(wishes, wishes, st.sampled_from(CATEGORIES), st.sampled_from(Channel), st.booleans())
def test_what_either_closed_stays_closed(
    one: Wishes, other: Wishes, category: str, channel: Channel, critical: bool
) -> None:
    question = Question(category, critical=critical)

    closed = [closed_gate(each, question, channel, reachable=True) for each in (one, other)]

    assert (closed_gate(stricter(one, other), question, channel, reachable=True) is None) == (closed == [None, None])


@given(wishes, wishes, st.sampled_from(CATEGORIES), st.sampled_from(Channel))
def test_choice_that_only_one_made_holds(one: Wishes, other: Wishes, category: str, channel: Channel) -> None:
    choices = {each.choice(category, channel) for each in (one, other)}

    merged = stricter(one, other).choice(category, channel)

    assert merged == (False if False in choices else True if True in choices else None)


@given(wishes, wishes)
def test_quiet_hours_of_both_hold(one: Wishes, other: Wishes) -> None:
    assert set(stricter(one, other).windows) == {*one.windows, *other.windows}


@given(wishes)
def test_merging_the_same_wishes_changes_no_answer(one: Wishes) -> None:
    merged = stricter(one, one)

    assert (merged.opted_out, merged.channels_off, merged.channel_order) == (
        one.opted_out,
        one.channels_off,
        one.channel_order,
    )
    assert merged.choices.keys() == one.choices.keys()


def test_attributes_of_the_one_that_stays_win_and_the_rest_fills_the_room() -> None:
    stays = [Attribute("plan", "pro"), *(Attribute(f"s{number}", "1") for number in range(MAX_ATTRIBUTES - 2))]
    goes = [Attribute("plan", "free"), Attribute("b", "2"), Attribute("a", "1")]

    kept = {attribute.key: attribute.value for attribute in joined(stays, goes)}

    assert len(kept) == MAX_ATTRIBUTES
    assert (kept["plan"], kept["a"]) == ("pro", "1")
    assert "b" not in kept
