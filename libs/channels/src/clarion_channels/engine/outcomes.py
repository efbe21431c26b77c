"""Records of what became of a delivery, where the rule does not depend on a lane's state."""

from datetime import timedelta

from clarion_channels.outcome import Result
from clarion_channels.receipt import normalise_id
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.dispatching import Claimed, Record

ABANDONED = timedelta(seconds=30)
"""How long a delivery rests whose sending broke off for a reason that is not its provider's."""
MAX_CODE = 64
MAX_PROVIDER_ID = 1_024


def expired(delivery: Claimed) -> Record:
    return Record(delivery, DeliveryState.EXPIRED, Reason.DEADLINE_PASSED, tried=False)


def held(delivery: Claimed, code: str) -> Record:
    return Record(delivery, DeliveryState.HELD, code=clean(code, MAX_CODE), tried=False)


def given_back(delivery: Claimed, next_lane: int | None = None) -> Record:
    """For whoever has time for it, or another account: no provider was asked."""
    return Record(delivery, DeliveryState.READY, tried=False, next_lane=next_lane)


def postponed(delivery: Claimed, delay: timedelta) -> Record:
    """Comes again after `delay`: no provider was asked."""
    return Record(delivery, DeliveryState.RETRY_WAIT, delay=delay, tried=False)


def unreadable(delivery: Claimed, why: str) -> Record:
    return Record(delivery, DeliveryState.DEAD_LETTERED, Reason.POISON, code=clean(f"unreadable: {why}", MAX_CODE))


def orphaned(delivery: Claimed) -> Record:
    """Its account was deleted, and no other may take it over."""
    return Record(
        delivery, DeliveryState.DEAD_LETTERED, Reason.PROVIDER_DELETED, code="no other account serves it", tried=False
    )


def abandoned(delivery: Claimed, *, to_blame: bool, rest: timedelta = ABANDONED) -> Record:
    """A delivery no provider was asked for: tried again later, and poison once it used up its attempts."""
    if to_blame and delivery.attempt >= delivery.max_attempts:
        return Record(delivery, DeliveryState.DEAD_LETTERED, Reason.POISON, code="sending broke off")
    return Record(delivery, DeliveryState.RETRY_WAIT, code="sending broke off", delay=rest, tried=to_blame)


def clean(text: str, limit: int) -> str:
    """A peer's word as Postgres can store it: without NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def receipt_keys(lane_id: int, result: Result) -> tuple[str, ...]:
    """What receipts of this message will be found by, one for each segment; "" for one that the provider did not take."""
    ids = (normalise_id(id_) for id_ in result.receipt_ids)
    return tuple(clean(f"{lane_id}:{id_}", MAX_PROVIDER_ID) if id_ else "" for id_ in ids)
