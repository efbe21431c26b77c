"""Which account serves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel
from clarion_ledger.config import LaneConfig, Route, Snapshot, Target
from clarion_ledger.routing import PROBING_SHARE, choose_lane, earned_shares

APP = 7
A, B, C = Target(1, 100), Target(2, 100), Target(3, 100)


def lane(lane_id: int, kind: str = "smpp", channel: Channel = Channel.SMS, *, enabled: bool = True) -> LaneConfig:
    return LaneConfig(lane_id, APP, f"lane{lane_id}", kind, channel, enabled, b"")


def snapshot(lanes: list[LaneConfig], *routes: Route) -> Snapshot:
    return Snapshot(
        lanes={one.lane_id: one for one in lanes}, routes={(APP, lanes[0].channel): routes} if routes and lanes else {}
    )


def chosen(
    known: Snapshot,
    *,
    country: str = "KR",
    locale: str = "ko-KR",
    hint: str = "",
    channel: Channel = Channel.SMS,
    avoid: tuple[int, ...] = (),
) -> int | None:
    return choose_lane(known, APP, channel, country=country, locale=locale, hint=hint, random=Random(1), avoid=avoid)


THREE = [lane(1), lane(2), lane(3)]


@pytest.mark.parametrize(
    ("routes", "country", "locale", "expected"),
    [
        pytest.param([], "KR", "ko", 1, id="no routes: the first account"),
        pytest.param([Route("", "", (B,))], "KR", "ko", 2, id="for everyone"),
        pytest.param([Route("", "", (A,)), Route("KR", "", (B,))], "KR", "ko", 2, id="country before everyone"),
        pytest.param([Route("", "ko", (A,)), Route("KR", "", (B,))], "KR", "ko", 2, id="country before locale"),
        pytest.param([Route("KR", "", (A,)), Route("KR", "ko", (B,))], "KR", "ko", 2, id="both before one"),
        pytest.param(
            [Route("", "zh", (A,)), Route("", "zh-Hant", (B,))], "TW", "zh-Hant-TW", 2, id="longer locale first"
        ),
        pytest.param([Route("", "zh", (A,))], "TW", "ZH-hant", 1, id="locale by prefix, any case"),
        pytest.param([Route("", "zh", (A,)), Route("", "", (B,))], "", "zhx", 2, id="prefix of whole subtags only"),
        pytest.param([Route("JP", "", (A,))], "KR", "ko", None, id="no route matches"),
        pytest.param([Route("JP", "", (A,)), Route("", "", (B,))], "", "", 2, id="nothing known of the recipient"),
        pytest.param(
            [Route("KR", "", (Target(9, 100),)), Route("", "", (B,))], "KR", "ko", 2, id="unusable: the next one"
        ),
        pytest.param([Route("KR", "", (Target(1, 100, rank=1), C))], "KR", "ko", 3, id="lowest rank first"),
        pytest.param([Route("KR", "", ())], "KR", "ko", None, id="route to nobody"),
    ],
)
def test_most_specific_usable_route_serves(
    routes: list[Route], country: str, locale: str, expected: int | None
) -> None:
    assert chosen(snapshot(THREE, *routes), country=country, locale=locale) == expected


def test_targets_share_by_weight() -> None:
    known = snapshot(THREE, Route("", "", (Target(1, 75), Target(2, 25))))
    random = Random(3)

    shares = Counter(
        choose_lane(known, APP, Channel.SMS, country="", locale="", hint="", random=random) for _ in range(4_000)
    )

    assert set(shares) == {1, 2}
    assert 0.72 < shares[1] / 4_000 < 0.78


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        ([lane(1, enabled=False), lane(2)], 2),
        ([lane(1, enabled=False)], None),
        ([lane(1, channel=Channel.EMAIL)], None),
        ([LaneConfig(1, APP + 1, "other", "smpp", Channel.SMS, True, b"")], None),
    ],
)
def test_only_enabled_accounts_of_the_app_and_channel_serve(lanes: list[LaneConfig], expected: int | None) -> None:
    assert chosen(snapshot(lanes)) == expected


def test_disabled_account_loses_its_share_of_a_route() -> None:
    known = snapshot([lane(1, enabled=False), lane(2)], Route("", "", (Target(1, 999), Target(2, 1))))

    assert chosen(known) == 2


@pytest.mark.parametrize(
    ("hint", "lanes", "expected"),
    [
        ("fcm", [lane(1, "huawei", Channel.ANDROID), lane(2, "fcm", Channel.ANDROID)], 2),
        ("huawei", [lane(1, "fcm", Channel.ANDROID), lane(2, "huawei", Channel.ANDROID)], 2),
        ("huawei", [lane(1, "fcm", Channel.ANDROID)], None),
        ("huawei", [lane(1, "own-relay", Channel.ANDROID)], 1),
        ("", [lane(1, "fcm", Channel.ANDROID)], 1),
    ],
)
def test_android_device_goes_to_an_account_that_speaks_to_its_push_service(
    hint: str, lanes: list[LaneConfig], expected: int | None
) -> None:
    assert chosen(snapshot(lanes), hint=hint, channel=Channel.ANDROID) == expected


def test_hints_bind_no_other_channel() -> None:
    assert chosen(snapshot([lane(1, "apns", Channel.IOS)]), hint="apns-dev", channel=Channel.IOS) == 1


SECOND = Target(2, 100, rank=1)


@pytest.mark.parametrize(
    ("routes", "avoid", "expected"),
    [
        pytest.param([], (1,), 1, id="no routes: nobody takes over"),
        pytest.param([Route("", "", (A, SECOND))], (), 1, id="a higher rank waits"),
        pytest.param([Route("", "", (A, SECOND))], (1,), 2, id="and serves when the lower one is away"),
        pytest.param([Route("", "", (A, SECOND))], (1, 2), 1, id="all away: the first holds it"),
        pytest.param([Route("", "", (A, C, SECOND))], (1,), 3, id="those of the same rank before the next"),
        pytest.param([Route("KR", "", (A,)), Route("", "", (B,))], (1,), 1, id="another route is no substitute"),
    ],
)
def test_next_in_line_serves_while_the_first_is_to_be_avoided(
    routes: list[Route], avoid: tuple[int, ...], expected: int
) -> None:
    assert chosen(snapshot(THREE, *routes), avoid=avoid) == expected


TARGETS = st.lists(st.tuples(st.integers(1, 100), st.floats(0.05, 1.0)), min_size=1, max_size=8)


@given(TARGETS)
def test_shares_by_receipts_sum_to_one_and_leave_everybody_something_to_prove(targets: list[tuple[int, float]]) -> None:
    weights, factors = zip(*targets, strict=True)
    shares = earned_shares(weights, factors)
    assert sum(shares) == pytest.approx(1)
    for share, weight in zip(shares, weights, strict=True):
        assert share >= min(weight / sum(weights), PROBING_SHARE) - 1e-9


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.floats(0.05, 1.0))
def test_accounts_that_are_equally_good_share_by_weight(weights: list[int], factor: float) -> None:
    assert earned_shares(weights, [factor] * len(weights)) == pytest.approx(
        [weight / sum(weights) for weight in weights]
    )


@given(TARGETS, st.data())
def test_account_that_gets_better_never_loses_share(targets: list[tuple[int, float]], data: st.DataObject) -> None:
    weights, factors = (list(column) for column in zip(*targets, strict=True))
    place = data.draw(st.integers(0, len(targets) - 1))
    better = list(factors)
    better[place] = data.draw(st.floats(factors[place], 1.0))
    assert earned_shares(weights, better)[place] >= earned_shares(weights, factors)[place] - 1e-9


def shares_of(quality: Mapping[tuple[int, str], int], *, by_receipts: bool = True, country: str = "KR") -> Counter[int]:
    route = Route("", "", (Target(1, 50), Target(2, 50), Target(3, 100, rank=1)), by_receipts)
    known, random = replace(snapshot(THREE, route), quality=quality), Random(5)
    found = (
        choose_lane(known, APP, Channel.SMS, country=country, locale="", hint="", random=random) for _ in range(2_000)
    )
    return Counter(lane_id for lane_id in found if lane_id is not None)


def test_traffic_goes_where_receipts_are_good_and_a_bad_account_is_still_probed() -> None:
    shares = shares_of({(1, "KR"): 5})
    assert set(shares) == {1, 2}
    assert 0.03 < shares[1] / 2_000 < 0.07


@pytest.mark.parametrize(
    ("quality", "by_receipts", "country"),
    [({(1, "KR"): 5}, False, "KR"), ({(1, "KR"): 5}, True, "DE"), ({(1, "KR"): 40, (2, "KR"): 40}, True, "KR")],
    ids=["not asked for", "another country", "no better one"],
)
def test_weights_stay_where_receipts_say_nothing_else(
    quality: dict[tuple[int, str], int], by_receipts: bool, country: str
) -> None:
    assert 0.46 < shares_of(quality, by_receipts=by_receipts, country=country)[1] / 2_000 < 0.54
