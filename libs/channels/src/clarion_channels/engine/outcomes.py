"""Records of what became of a delivery, where the rule does not depend on a lane's state."""

from datetime import timedelta

from clarion_channels.outcome import Result
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


def abandoned(delivery: Claimed, *, to_blame: bool, rest: timedelta = ABANDONED) -> Record:
    """A delivery no provider was asked for: tried again later, and poison once it used up its attempts."""
    if to_blame and delivery.attempt >= delivery.max_attempts:
        return Record(delivery, DeliveryState.DEAD_LETTERED, Reason.POISON, code="sending broke off")
    return Record(delivery, DeliveryState.RETRY_WAIT, code="sending broke off", delay=rest, tried=to_blame)


def clean(text: str, limit: int) -> str:
    """A peer's word as Postgres can store it: without NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def receipt_key(lane_id: int, result: Result) -> str:
    """What a receipt of this message will be found by; empty where the provider gave no id.

    The id is that of the first segment, in lower case without leading zeros, as the tracker's candidates are (carriers
    write it differently in receipts). Receipts of later segments are not looked at yet.
    """
    first = result.provider_message_id.partition(",")[0].strip().lower()
    return clean(f"{lane_id}:{first.lstrip('0') or first[:1]}", MAX_PROVIDER_ID) if first else ""
