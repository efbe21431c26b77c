"""Which switches a preference page has, and what turning them changes."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel
from clarion_tracker.wish_page import MAX_CATEGORIES, NOTHING, Change, Offered, Wanted, changes, name, wish_page

IOS, SMS, EMAIL = Channel.IOS, Channel.SMS, Channel.EMAIL
NEWS, CODES, TIPS = Offered("news"), Offered("codes", critical=True), Offered("tips", opt_in_required=True)
MAILS = Offered("mails", channels=frozenset({EMAIL}))
OFFERED = (TIPS, NEWS, MAILS, CODES)
ANNA = Wanted((IOS, EMAIL), opted_out=False, channels_off=frozenset({IOS}), choices={("news", EMAIL): False})


def groups(wanted: Wanted) -> dict[str, Mapping[Channel, bool]]:
    return {group.category: group.switches for group in wish_page(wanted, OFFERED).groups}


def test_page_has_a_switch_for_each_channel_somebody_has_and_category_they_may_choose() -> None:
    page = wish_page(ANNA, OFFERED)

    assert page.channels == {IOS: False, EMAIL: True}
    assert groups(ANNA) == {
        "mails": {EMAIL: True},
        "news": {IOS: True, EMAIL: False},
        "tips": {IOS: False, EMAIL: False},
    }
    assert page.always == ("codes",)
    assert page.on == ["email", "mails/email", "news/ios"]


def test_category_of_channels_that_somebody_has_not_is_not_shown() -> None:
    assert "mails" not in groups(Wanted((SMS,), opted_out=False, channels_off=frozenset(), choices={}))


def test_choice_for_a_channel_wins_over_one_for_all() -> None:
    wanted = Wanted((IOS, SMS), False, frozenset(), {("news", None): False, ("news", SMS): True, ("tips", None): True})

    assert groups(wanted) == {"news": {IOS: False, SMS: True}, "tips": {IOS: True, SMS: True}}


def test_page_shows_no_more_categories_than_a_form_may_hold() -> None:
    many = [Offered(f"c{number:03}") for number in range(MAX_CATEGORIES + 5)]

    assert len(wish_page(ANNA, many).groups) == MAX_CATEGORIES


def test_only_what_was_turned_is_changed() -> None:
    page = wish_page(ANNA, OFFERED)

    found = changes(page, {"email", "news/ios"}, {"email", "ios", "news/ios", "tips/ios"})

    assert found == [Change(IOS, "", True), Change(IOS, "tips", True)]


def test_what_somebody_else_changed_meanwhile_stays() -> None:
    """It was shown on, is off by now, and was not touched."""
    page = wish_page(Wanted((IOS, SMS), False, frozenset(), {("news", IOS): False}), [NEWS])

    assert changes(page, {"ios", "sms", "news/ios", "news/sms"}, {"ios", "sms", "news/ios", "news/sms"}) == []


def test_category_that_ends_off_everywhere_is_off_for_channels_to_come() -> None:
    page = wish_page(ANNA, OFFERED)

    assert changes(page, page.on, {"email", "mails/email"}) == [Change(None, "news", False)]


def test_category_that_ends_on_everywhere_is_on_for_channels_to_come() -> None:
    page = wish_page(ANNA, OFFERED)

    assert changes(page, page.on, {*page.on, "news/email"}) == [Change(None, "news", True)]


def test_opting_out_is_a_switch_of_its_own() -> None:
    page = wish_page(ANNA, OFFERED)
    out = wish_page(Wanted((IOS,), opted_out=True, channels_off=frozenset(), choices={}), [])

    assert changes(page, page.on, {*page.on, NOTHING}) == [Change(None, "", False)]
    assert changes(out, out.on, {"ios"}) == [Change(None, "", True)]


def test_names_that_the_page_has_not_are_left_out() -> None:
    page = wish_page(ANNA, OFFERED)

    assert changes(page, page.on, {*page.on, "codes/ios", "gone/email", "news/fax", "", "/"}) == []


_channels = st.sets(st.sampled_from(list(Channel))).map(lambda found: tuple(sorted(found)))
_choices = st.dictionaries(
    st.tuples(st.sampled_from(["news", "tips", "mails"]), st.none() | st.sampled_from(list(Channel))), st.booleans()
)
_wanted = st.builds(Wanted, _channels, st.booleans(), st.frozensets(st.sampled_from(list(Channel))), _choices)


@given(_wanted, st.data())
def test_after_the_changes_the_page_shows_what_was_chosen(wanted: Wanted, data: st.DataObject) -> None:
    page = wish_page(wanted, OFFERED)
    names = [NOTHING, *(c.slug for c in page.channels), *(name(g.category, c) for g in page.groups for c in g.switches)]
    chosen = data.draw(st.sets(st.sampled_from(names)))

    after = wanted
    for change in changes(page, page.on, chosen):
        after = _turned(after, change)

    assert set(wish_page(after, OFFERED).on) == chosen


def _turned(wanted: Wanted, change: Change) -> Wanted:
    """What the preference service does (`clarion_preference.domain.switched`), written again."""
    if not change.category and change.channel is None:
        return Wanted(wanted.channels, not change.enabled, wanted.channels_off, wanted.choices)
    if not change.category and change.channel is not None:
        others = wanted.channels_off - {change.channel}
        off = others if change.enabled else others | {change.channel}
        return Wanted(wanted.channels, wanted.opted_out, off, wanted.choices)
    kept = {
        key: choice for key, choice in wanted.choices.items() if change.channel is not None or key[0] != change.category
    }
    choices = {**kept, (change.category, change.channel): change.enabled}
    return Wanted(wanted.channels, wanted.opted_out, wanted.channels_off, choices)
