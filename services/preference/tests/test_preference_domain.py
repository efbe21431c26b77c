"""Which gate wishes close, and what a switch does to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel, Gate, Reason
from clarion_preference.domain import NO_WISHES, ChoiceKey, Closed, Question, Wishes, closed_gate, switched
from clarion_preference.suppressions import SuppressionReason

NEWS = Question("news")
NEWS_BY_OPT_IN = Question("news", opt_in_required=True)
CRITICAL = Question("news", critical=True)
CRITICAL_BY_OPT_IN = Question("news", critical=True, opt_in_required=True)

OPTED_OUT = (Gate.WISHES, Reason.OPTED_OUT, "opted out of everything")
SMS_OFF = (Gate.WISHES, Reason.CHANNEL_OFF, "channel sms: off")
NEWS_OFF = (Gate.WISHES, Reason.CATEGORY_OFF, "category news: off")
NEWS_NOT_CHOSEN = (Gate.WISHES, Reason.CATEGORY_OFF, "category news: not chosen")

NEWS_EVERYWHERE: ChoiceKey = ("news", None)
NEWS_BY_SMS: ChoiceKey = ("news", Channel.SMS)
NEWS_BY_MAIL: ChoiceKey = ("news", Channel.EMAIL)


@pytest.mark.parametrize(
    ("wishes", "question", "expected"),
    [
        (NO_WISHES, NEWS, None),
        (NO_WISHES, CRITICAL, None),
        (NO_WISHES, NEWS_BY_OPT_IN, NEWS_NOT_CHOSEN),
        (NO_WISHES, CRITICAL_BY_OPT_IN, None),
        (Wishes(opted_out=True), NEWS, OPTED_OUT),
        (Wishes(opted_out=True), CRITICAL, OPTED_OUT),
        (Wishes(opted_out=True, channels_off=frozenset({Channel.SMS})), NEWS, OPTED_OUT),
        (Wishes(opted_out=True, choices={NEWS_BY_SMS: True}), NEWS, OPTED_OUT),
        (Wishes(channels_off=frozenset({Channel.SMS})), NEWS, SMS_OFF),
        (Wishes(channels_off=frozenset({Channel.SMS})), CRITICAL, SMS_OFF),
        (Wishes(channels_off=frozenset({Channel.SMS}), choices={NEWS_BY_SMS: True}), NEWS, SMS_OFF),
        (Wishes(channels_off=frozenset({Channel.EMAIL})), NEWS, None),
        (Wishes(choices={NEWS_EVERYWHERE: False}), NEWS, NEWS_OFF),
        (Wishes(choices={NEWS_EVERYWHERE: False}), NEWS_BY_OPT_IN, NEWS_OFF),
        (Wishes(choices={NEWS_EVERYWHERE: False}), CRITICAL, None),
        (Wishes(choices={NEWS_EVERYWHERE: True}), NEWS_BY_OPT_IN, None),
        (Wishes(choices={NEWS_BY_SMS: False}), NEWS, NEWS_OFF),
        (Wishes(choices={NEWS_BY_SMS: False}), CRITICAL, None),
        (Wishes(choices={NEWS_BY_SMS: True}), NEWS_BY_OPT_IN, None),
        (Wishes(choices={NEWS_EVERYWHERE: True, NEWS_BY_SMS: False}), NEWS, NEWS_OFF),
        (Wishes(choices={NEWS_EVERYWHERE: False, NEWS_BY_SMS: True}), NEWS, None),
        (Wishes(choices={NEWS_EVERYWHERE: False, NEWS_BY_SMS: True}), NEWS_BY_OPT_IN, None),
        (Wishes(choices={NEWS_BY_MAIL: False}), NEWS, None),
        (Wishes(choices={NEWS_BY_MAIL: True}), NEWS_BY_OPT_IN, NEWS_NOT_CHOSEN),
        (Wishes(choices={("offers", None): False}), NEWS, None),
        (Wishes(choices={("offers", Channel.SMS): True}), NEWS_BY_OPT_IN, NEWS_NOT_CHOSEN),
    ],
)
def test_wishes_decide_about_a_reachable_channel(
    wishes: Wishes, question: Question, expected: tuple[Gate, Reason, str] | None
) -> None:
    assert closed_gate(wishes, question, Channel.SMS, reachable=True) == (Closed(*expected) if expected else None)


channels = st.sampled_from(Channel)
categories = st.sampled_from(["news", "offers", "security"])
wishes_of_anyone = st.builds(
    Wishes,
    opted_out=st.booleans(),
    channels_off=st.frozensets(channels),
    choices=st.dictionaries(st.tuples(categories, st.none() | channels), st.booleans()),
)
questions = st.builds(Question, categories, critical=st.booleans(), opt_in_required=st.booleans())


@given(wishes_of_anyone, questions, channels)
def test_missing_address_is_reported_before_any_wish(wishes: Wishes, question: Question, channel: Channel) -> None:
    closed = closed_gate(wishes, question, channel, reachable=False)

    assert closed is not None
    assert (closed.gate, closed.reason) == (Gate.ADDRESS, Reason.NO_ADDRESS)


@given(wishes_of_anyone, questions, channels)
def test_opt_out_and_channel_off_hold_whatever_else_is_chosen(
    wishes: Wishes, question: Question, channel: Channel
) -> None:
    closed = closed_gate(wishes, question, channel, reachable=True)

    if wishes.opted_out:
        assert closed is not None
        assert closed.reason is Reason.OPTED_OUT
    elif channel in wishes.channels_off:
        assert closed is not None
        assert closed.reason is Reason.CHANNEL_OFF
    elif question.critical:
        assert closed is None


@given(wishes_of_anyone, questions, channels)
def test_rule_fits_into_a_gate_record(wishes: Wishes, question: Question, channel: Channel) -> None:
    longest = Question("c" * 64, question.critical, question.opt_in_required)

    closed = closed_gate(wishes, longest, channel, reachable=True)

    assert closed is None or len(closed.rule.encode()) <= 128


@given(wishes_of_anyone, channels, st.booleans())
def test_switching_a_channel_decides_about_it_alone(wishes: Wishes, channel: Channel, enabled: bool) -> None:
    after = switched(wishes, channel, "", enabled=enabled)

    assert (channel in after.channels_off) is not enabled
    assert after.channels_off - {channel} == wishes.channels_off - {channel}
    assert (after.opted_out, after.choices) == (wishes.opted_out, wishes.choices)


@given(wishes_of_anyone, categories, channels, st.booleans())
def test_switching_a_category_holds_on_every_channel(
    wishes: Wishes, category: str, channel: Channel, enabled: bool
) -> None:
    assert switched(wishes, None, category, enabled=enabled).choice(category, channel) is enabled


@given(wishes_of_anyone, categories, channels, st.booleans())
def test_switching_a_category_on_one_channel_leaves_the_others(
    wishes: Wishes, category: str, channel: Channel, enabled: bool
) -> None:
    after = switched(wishes, channel, category, enabled=enabled)

    assert after.choice(category, channel) is enabled
    for other in set(Channel) - {channel}:
        assert after.choice(category, other) is wishes.choice(category, other)


@given(wishes_of_anyone, st.booleans())
def test_switching_everything_is_opting_out_or_in(wishes: Wishes, enabled: bool) -> None:
    after = switched(wishes, None, "", enabled=enabled)

    assert after.opted_out is not enabled
    assert (after.channels_off, after.choices) == (wishes.channels_off, wishes.choices)


@given(wishes_of_anyone, st.none() | channels, st.just("") | categories, st.booleans())
def test_switching_twice_is_switching_once(
    wishes: Wishes, channel: Channel | None, category: str, enabled: bool
) -> None:
    once = switched(wishes, channel, category, enabled=enabled)

    assert switched(once, channel, category, enabled=enabled) == once


@pytest.mark.parametrize("question", [NEWS, CRITICAL])
@pytest.mark.parametrize("wishes", [NO_WISHES, Wishes(opted_out=True)])
def test_suppression_list_closes_before_wishes_and_for_every_category(question: Question, wishes: Wishes) -> None:
    closed = closed_gate(wishes, question, Channel.SMS, reachable=False, suppressed=SuppressionReason.STOP_WORD)

    assert closed == Closed(Gate.SUPPRESSION_LIST, Reason.SUPPRESSION_LIST, "suppression list: stop word")


def test_another_address_of_the_channel_is_used_though_one_is_suppressed() -> None:
    assert closed_gate(NO_WISHES, NEWS, Channel.SMS, reachable=True, suppressed=SuppressionReason.COMPLAINT) is None
