"""The rules of outgoing webhooks: what is posted, how it is signed, when it is tried again and when no more. Pure.

Headers and signature are those of Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks/blob/main/spec/
standard-webhooks.md): `webhook-signature` is "v1," and the base64 of HMAC-SHA256 over "<id>.<timestamp>.<body>", one for
each live secret, separated by blanks.
"""

import base64
import hmac
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from clarion_tracker.changes import Change, Wanted
from clarion_tracker.positions import Position

MAX_CHANGES = 100
"""Of one post."""
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)
"""A webhook of which every try has failed for so long is switched off."""
CHANGED, SAMPLE = "deliveries.changed", "webhook.test"
_GONE = 410


class Disabled(StrEnum):
    """Why a webhook was switched off."""

    GONE = "gone"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Lost:
    """What was pruned before it could be posted happened between these moments."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook that this tracker posts to.

    `secrets`: the newest first, all sign; `position`: everything up to there is done; `batch_end`: where the batch ends that
    failed last; `due_in`: when the next try is due; `failing_for`: how long every try has failed.
    """

    webhook_id: int
    app_id: int
    app: str
    name: str
    lease_gen: int
    revision: int
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    wanted: Wanted
    position: Position
    batch_end: Position | None = None
    lost: Lost | None = None
    tries: int = 0
    due_in: timedelta = timedelta(0)
    failing_for: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one post tells. `end`: where the webhook stands once it was taken."""

    message_id: str
    changes: Sequence[Change]
    end: Position
    lost: Lost | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a post. `status` 0: there was no answer, `error` says why; `retry_after`: what the receiver asks for."""

    status: int = 0
    error: str = ""
    retry_after: timedelta | None = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def fault(self) -> str:
        """Empty if it was taken."""
        return "" if self.taken else self.error or f"HTTP {self.status}"


@dataclass(frozen=True, slots=True)
class Again:
    """The same batch is due once more after a pause."""

    pause: timedelta


def judge(
    answer: Answer, tries: int, failing_for: timedelta, draw: Callable[[float, float], float] = random.uniform
) -> Again | Disabled:
    """What follows a post that was not taken; `tries` counts it, `failing_for` since the first one that failed."""
    if answer.status == _GONE:
        return Disabled.GONE
    if failing_for >= GIVE_UP_AFTER:
        return Disabled.FAILING
    bound = min(LONGEST_PAUSE.total_seconds(), FIRST_PAUSE.total_seconds() * 2.0 ** min(tries - 1, 32))
    pause = timedelta(seconds=draw(0.0, bound))
    asked_for = min(answer.retry_after or timedelta(0), LONGEST_PAUSE)
    return Again(max(pause, asked_for))


def batch_of(hook: Hook, changes: Sequence[Change], end: Position) -> Batch:
    """Its id is the same for the same webhook, beginning and end."""
    start = hook.position
    message_id = f"msg_{hook.webhook_id}_{start.xid}-{start.seq}_{end.xid}-{end.seq}"
    return Batch(message_id, changes, end, hook.lost)


def body_of(hook: Hook, batch: Batch) -> bytes:
    """The JSON that is posted, the same for every try; the README describes it. `batch` has a change."""
    data: dict[str, object] = {
        "app": hook.app,
        "webhook": hook.name,
        "changes": [_told(change) for change in batch.changes],
    }
    if batch.lost is not None:
        data["lost"] = {"since": _time(batch.lost.since), "until": _time(batch.lost.until)}
    return _json(CHANGED, batch.changes[-1].at, data)


def sample_of(hook: Hook, now: datetime) -> bytes:
    """What a test posts: the form of a body, with no change in it."""
    return _json(SAMPLE, now, {"app": hook.app, "webhook": hook.name, "changes": []})


def headers_of(message_id: str, secrets: Sequence[bytes], now: datetime, body: bytes) -> dict[str, str]:
    moment = int(now.timestamp())
    signatures = (sign(secret, message_id, moment, body) for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": " ".join(signatures),
    }


def sign(secret: bytes, message_id: str, moment: int, body: bytes) -> str:
    content = b"%b.%d.%b" % (message_id.encode(), moment, body)
    return "v1," + base64.b64encode(hmac.digest(secret, content, "sha256")).decode()


def _told(change: Change) -> dict[str, object]:
    told: dict[str, object] = {
        "id": change.change_id,
        "at": _time(change.at),
        "kind": change.kind.name.lower(),
        "notification_id": str(change.notification_id),
        "event_id": change.event_id,
        "category": change.category,
    }
    if change.delivery_id is None:
        return told
    words = {"channel": change.channel, "state": change.state, "reason": change.reason, "receipt": change.receipt}
    told["delivery_id"] = str(change.delivery_id)
    told |= {name: word.name.lower() for name, word in words.items() if word is not None}
    told |= {"provider": change.provider, "code": change.code, "attempt": change.attempt}
    return told


def _json(kind: str, now: datetime, data: dict[str, object]) -> bytes:
    document = {"type": kind, "timestamp": _time(now), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
