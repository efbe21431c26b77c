"""Which provider account serves a delivery: data of the app, the most specific route first. No I/O."""

from random import Random

from clarion_kit.vocabulary import Channel
from clarion_ledger.config import LaneConfig, Route, Snapshot

_KINDS_BY_HINT = {"fcm": "fcm", "huawei": "huawei"}


def choose_lane(
    snapshot: Snapshot, app_id: int, channel: Channel, *, country: str, locale: str, hint: str, random: Random
) -> int | None:
    """The lane of a delivery, None where no enabled account serves it.

    Routes are tried from the most specific (country and locale) to the least; within one, usable targets share by
    weight. Without routes the app's first account of the channel serves. An Android device
    only goes to an account that speaks to its push service.
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
        targets = [target for target in route.targets if target.lane_id in usable]
        weights = [target.weight for target in targets]
        if targets and any(weights):
            return random.choices(targets, weights)[0].lane_id
    return None


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
