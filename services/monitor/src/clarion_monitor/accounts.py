"""How provider accounts fare: what they answer, how they stand, how well they deliver. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clarion_kit.vocabulary import Channel, StopReason
from clarion_monitor.causes import Account, Stopped
from clarion_monitor.domain import Kind, Limits, Reading

WORKS = "works"
DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account by its names; `state` is `WORKS`, `DISABLED`, or why it takes no work, e.g. "breaker"."""

    app: str
    name: str
    channel: Channel
    provider: str
    state: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What an account answered lately. `failed`: its trouble or the provider's; `dead`: dead addresses; `good`: the rest."""

    account: Account
    app: str
    name: str
    good: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        return self.good + self.failed + self.dead


@dataclass(frozen=True, slots=True)
class Quality:
    """The share of its weight, in percent, that an SMS account keeps in a country."""

    account: Account
    app: str
    name: str
    country: str
    factor: int


@dataclass(frozen=True, slots=True)
class AccountsLook:
    """Every account at one moment, those in trouble first; bounded."""

    states: Sequence[AccountState]
    answers: Sequence[Answers]
    quality: Sequence[Quality]


def error_readings(answers: Iterable[Answers], limits: Limits) -> list[Reading]:
    """One reading for each account with enough answers to judge by."""
    return [
        Reading(
            f"lane {one.account.lane_id} errors",
            100 * one.failed / one.total,
            100 * limits.error_share,
            Kind.PROVIDER_ERRORS,
            f"{one.account.channel.slug}: the provider fails much of what it is given",
            "%",
            one.account.app_id,
            one.account.lane_id,
            reached=True,
        )
        for one in answers
        if one.total >= limits.least_answers
    ]


def death_readings(answers: Iterable[Answers], stops: Iterable[Stopped], limits: Limits) -> list[Reading]:
    """Jumps of dead addresses, one reading an account: by its answers, or by the stop that a greater jump brings. Both are
    one incident."""
    found: dict[str, Reading] = {}
    for one in answers:
        if one.dead >= limits.dead_addresses and one.dead >= limits.dead_share * one.total:
            reading = _deaths(one.account, "many addresses are dead", one.dead, limits.dead_addresses, reached=True)
            found[reading.key] = reading
    for stop in stops:
        if stop.reason is StopReason.DEAD_JUMP:
            reading = _deaths(stop.account, "so many addresses are dead that the account takes no work", 1, 0)
            found[reading.key] = reading
    return list(found.values())


def quality_readings(quality: Iterable[Quality], limits: Limits) -> list[Reading]:
    """One reading an account, for the country where it delivers worst."""
    worst: dict[int, Quality] = {}
    for one in quality:
        known = worst.get(one.account.lane_id)
        if known is None or one.factor < known.factor:
            worst[one.account.lane_id] = one
    return [
        Reading(
            f"lane {lane_id} quality",
            100 - one.factor,
            100 - limits.lane_quality,
            Kind.LANE_QUALITY,
            f"sms: the account delivers badly in {one.country or 'unknown countries'}",
            "% of its weight lost",
            one.account.app_id,
            lane_id,
        )
        for lane_id, one in worst.items()
    ]


def state_of(reason: int | None, *, enabled: bool) -> str:
    """How an account stands; `reason` is a number of `StopReason`, perhaps of a newer version, or None."""
    if reason is None:
        return WORKS if enabled else DISABLED
    known: Mapping[int, StopReason] = {one.value: one for one in StopReason}
    return known[reason].name.lower() if reason in known else "stopped"


def _deaths(account: Account, what: str, value: float, limit: float, *, reached: bool = False) -> Reading:
    return Reading(
        f"lane {account.lane_id} dead addresses",
        value,
        limit,
        Kind.TOKEN_DEATHS,
        f"{account.channel.slug}: {what}",
        app_id=account.app_id,
        lane_id=account.lane_id,
        reached=reached,
    )
