"""Which provider account serves a delivery: data of the app, the most specific route first. No I/O."""

from collections.abc import Collection, Sequence
from itertools import groupby
from operator import attrgetter
from random import Random

from clarion_kit.vocabulary import Channel
from clarion_ledger.config import LaneConfig, Route, Snapshot, Target

PROBING_SHARE = 0.05
"""Of its route's traffic, what an account keeps however bad its receipts are: else nobody would see it get better."""

_KINDS_BY_HINT = {"fcm": "fcm", "huawei": "huawei"}


def choose_lane(
    snapshot: Snapshot,
    app_id: int,
    channel: Channel,
    *,
    country: str,
    locale: str,
    hint: str,
    random: Random,
    avoid: Collection[int] = (),
) -> int | None:
    """The lane of a delivery, None where no enabled account serves it.

    Routes are tried from the most specific (country and locale) to the least; the first with a usable target decides. Of
    its targets those of the lowest rank share by weight; those of a higher rank serve while every one before them is to
    be avoided (stopped, or tried a moment ago). Where all of them are, the first serves: what it cannot send now it holds.
    Where the route goes by receipts, a weight counts as far as the account's receipts of that country bear it out.
    Without routes the app's first account of the channel serves, and no other takes over: nobody said that it may. An
    Android device only goes to an account that speaks to its push service.
    """
    usable = {lane.lane_id: lane for lane in snapshot.lanes_of(app_id, channel) if _speaks_to(lane, hint)}
    if not usable:
        return None
    routes = snapshot.routes.get((app_id, channel), ())
    if not routes:
        return min(usable)
    for route in sorted(routes, key=_specificity, reverse=True):
        if not _matches(route, country, locale):
            continue
        targets = sorted(
            (target for target in route.targets if target.lane_id in usable and target.weight), key=attrgetter("rank")
        )
        for avoided in (avoid, ()):
            for _, rank in groupby(targets, key=attrgetter("rank")):
                sharing = [target for target in rank if target.lane_id not in avoided]
                if sharing:
                    return random.choices(sharing, _weights(snapshot, route, country, sharing))[0].lane_id
    return None


def earned_shares(weights: Sequence[float], factors: Sequence[float]) -> list[float]:
    """Shares that sum to 1 and go by weight times factor, none below the smaller of its share by weight alone and
    `PROBING_SHARE`. Weights and factors are positive."""
    total = sum(weights)
    floors = [min(weight / total, PROBING_SHARE) for weight in weights]
    earned = [weight * factor for weight, factor in zip(weights, factors, strict=True)]
    kept: set[int] = set()
    while True:
        rest = 1 - sum(floors[place] for place in kept)
        scale = rest / sum(worth for place, worth in enumerate(earned) if place not in kept)
        low = {place for place, worth in enumerate(earned) if place not in kept and worth * scale < floors[place]}
        if not low or len(kept) + len(low) == len(weights):
            return [floors[place] if place in kept else worth * scale for place, worth in enumerate(earned)]
        kept |= low


def _weights(snapshot: Snapshot, route: Route, country: str, sharing: Sequence[Target]) -> list[float]:
    weights = [float(target.weight) for target in sharing]
    if not route.by_receipts:
        return weights
    return earned_shares(weights, [snapshot.quality.get((target.lane_id, country), 100) / 100 for target in sharing])


def _speaks_to(lane: LaneConfig, hint: str) -> bool:
    kind = _KINDS_BY_HINT.get(hint)
    return (
        lane.channel is not Channel.ANDROID
        or kind is None
        or lane.kind not in _KINDS_BY_HINT.values()
        or lane.kind == kind
    )


def _specificity(route: Route) -> tuple[bool, int]:
    return bool(route.country), len(route.locale)


def _matches(route: Route, country: str, locale: str) -> bool:
    if route.country and route.country != country:
        return False
    return (
        not route.locale
        or locale.lower() == route.locale.lower()
        or locale.lower().startswith(f"{route.locale.lower()}-")
    )
