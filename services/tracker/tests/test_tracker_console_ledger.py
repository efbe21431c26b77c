"""What the console reads of a real ledger, with the tracker's own rights."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from clarion.notification.v1.state_pb2 import GateTrail
from clarion_channels.outcome import Outcome
from clarion_kit.sealing import KeyWrapper, recipient_reference
from clarion_kit.vocabulary import (
    Channel,
    DeliveryState,
    EventKind,
    Gate,
    NotificationState,
    Priority,
    Reason,
    Receipt,
    StopReason,
    Verdict,
)
from clarion_ledger import admin
from clarion_ledger.accept import Accepted, accept
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import LedgerUnavailable, pool
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_testkit.plugin import App, Database
from clarion_tracker.adapters.console_ledger import ConsoleLedger
from clarion_tracker.console.facts import Span

from .tracker_ledger_samples import Sms, _item, claimed_again, claimed_sms, record_answer, send, sms_lane
from .tracker_samples import FixedClock

TRACE = "b" * 32


class Moved(FixedClock):
    """A clock whose seconds a test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Moved:
    return Moved(datetime.now(UTC))


@pytest.fixture
async def ledger(database: Database, app: App, clock: Moved) -> AsyncIterator[ConsoleLedger]:
    async with pool(f"{database.url}?role=clarion_tracker", size=2, application="test") as connections:
        config = ConfigCache(connections, with_lanes=True)
        await config.refresh()
        yield ConsoleLedger(connections, lambda: config.snapshot, clock)


async def retried_and_seen(database: Database, app: App) -> Sms:
    """An SMS that went at the second try and was seen."""
    sms = await claimed_sms(database.pool, app, country="KR")
    await record_answer(database.pool, sms, DeliveryState.RETRY_WAIT, Outcome.RETRY, [])
    again = await claimed_again(database.pool, sms)
    await send(database.pool, again, "m-1")
    await apply(database.pool, [ReceiptFor(sms.id, Receipt.SEEN)])
    trail = GateTrail(passed_up_to=Gate.ROUTE.value)  # type: ignore[arg-type]  # our numbers are the contract's (tested)
    trail.records.add(gate=Gate.CAPS.value, verdict=Verdict.PASS_UNCHECKED.value, rule="caps: no limiter")
    await database.pool.execute(
        "UPDATE ledger.delivery SET gates = $2 WHERE id = $1", sms.id, trail.SerializeToString()
    )
    await database.pool.execute(
        "UPDATE ledger.notification SET traceparent = $2 WHERE id = $1",
        sms.claimed.notification_id,
        f"00-{TRACE}-{'1' * 16}-01",
    )
    return sms


async def test_notification_has_its_deliveries_events_gates_and_trace(
    database: Database, app: App, ledger: ConsoleLedger
) -> None:
    sms = await retried_and_seen(database, app)

    facts = await ledger.notification(sms.claimed.notification_id)

    assert facts is not None
    assert (facts.found.app, facts.found.category) == ("shop", "transactional")
    assert (facts.found.state, facts.trace_id) == (NotificationState.DONE, TRACE)
    assert [event.kind for event in facts.events] == [EventKind.ACCEPTED, EventKind.PLANNED]
    [delivery] = facts.deliveries
    assert (delivery.channel, delivery.state, delivery.receipt) == (Channel.SMS, DeliveryState.SENT, Receipt.SEEN)
    assert (delivery.attempts, delivery.provider_message_id) == (2, "m-1")
    assert [event.kind for event in delivery.events] == [EventKind.RETRY, EventKind.TERMINAL, EventKind.RECEIPT]
    assert delivery.events[-1].receipt is Receipt.SEEN
    assert delivery.passed_up_to is Gate.ROUTE
    [note] = delivery.gates
    assert (note.gate, note.verdict, note.reason, note.rule) == (
        Gate.CAPS,
        Verdict.PASS_UNCHECKED,
        None,
        "caps: no limiter",
    )


async def test_notification_that_is_not_there_is_none(ledger: ConsoleLedger) -> None:
    assert await ledger.notification(uuid4()) is None


async def test_scheduled_notification_is_shown_and_found_by_its_ids(
    database: Database, app: App, ledger: ConsoleLedger
) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    [accepted] = await accept(database.pool, [replace(_item(app), event_id="reminder-7", deliver_at=later)])
    assert isinstance(accepted, Accepted)

    facts = await ledger.notification(accepted.notification_id)

    assert facts is not None
    assert (facts.found.state, facts.deliver_at) == (NotificationState.SCHEDULED, later)
    assert facts.deliveries == []
    assert [one.notification_id for one in await ledger.search("reminder-7", "")] == [accepted.notification_id]
    assert [one.notification_id for one in await ledger.search(str(accepted.notification_id), "")] == [
        accepted.notification_id
    ]


async def test_search_finds_by_every_id_and_keeps_to_the_app(
    database: Database, app: App, ledger: ConsoleLedger, kek: KeyWrapper
) -> None:
    await admin.create_app(database.pool, kek, "bank")
    sms = await retried_and_seen(database, app)
    reference = UUID(bytes=recipient_reference(app.app_id, "user-7"))
    await database.pool.execute("UPDATE ledger.delivery SET recipient_ref = $2 WHERE id = $1", sms.id, reference)
    event_id = await database.pool.fetchval(
        "SELECT event_id FROM ledger.notification WHERE id = $1", sms.claimed.notification_id
    )

    for text in (str(sms.claimed.notification_id), str(sms.id), event_id, "user-7", str(reference)):
        for app_name, expected in (("", 1), ("shop", 1), ("bank", 0), ("nobody", 0)):
            found = await ledger.search(text, app_name)
            assert len(found) == expected, (text, app_name)
    assert await ledger.search("user-8", "") == []
    assert await ledger.search("'; DROP TABLE ledger.event; --", "") == []


async def test_overview_counts_what_rests_and_shows_how_accounts_stand(
    database: Database, app: App, ledger: ConsoleLedger
) -> None:
    lane_id = await sms_lane(database.pool, app)
    await claimed_sms(database.pool, app, lane_id)
    await send(database.pool, await claimed_sms(database.pool, app, lane_id), "m-2")
    failed = await claimed_sms(database.pool, app, lane_id)
    await record_answer(database.pool, failed, DeliveryState.RETRY_WAIT, Outcome.RETRY, [])
    await accept(database.pool, [replace(_item(app), deliver_at=datetime.now(UTC) + timedelta(hours=2))])
    await database.pool.execute(
        "INSERT INTO ledger.lane_stop (lane_id, app_id, reason, detail) VALUES ($1, $2, $3, 'x')",
        lane_id,
        app.app_id,
        StopReason.BREAKER,
    )
    await database.pool.execute(
        """INSERT INTO tracking.rollup_hour
               (at, app_id, grain, category_id, template_version, lane_id, country, channel, planned, sent, failed, delivered,
                opened)
           SELECT date_trunc('hour', now()) - make_interval(hours => h), $1, 0, 1, 0, 0, '', 5, 10, 6, 1, 5, 2
           FROM unnest(ARRAY[0, 1, 20, 30]) AS h""",
        app.app_id,
    )

    hour, day = await ledger.overview(Span.HOUR), await ledger.overview(Span.DAY)

    [provider] = hour.providers
    assert (provider.app, provider.kind, provider.channel) == ("shop", "smpp", Channel.SMS)
    assert (provider.in_flight, provider.taken, provider.refused) == (1, 1, 1)
    assert provider.stop is not None
    assert provider.stop.reason is StopReason.BREAKER
    assert {(queue.stage, queue.state): queue.rows for queue in hour.queues} == {
        ("schedule", "scheduled"): 1,
        ("dispatch sms", "leased"): 1,
        ("dispatch sms", "retry wait"): 1,
    }
    assert next(queue for queue in hour.queues if queue.stage == "schedule").oldest_seconds < -7_000
    assert [(one.channel, one.planned, one.sent, one.lost) for one in hour.funnels] == [(Channel.EMAIL, 20, 12, 2)]
    assert [(one.planned, one.delivered, one.seen) for one in day.funnels] == [(30, 15, 6)]
    assert await ledger.apps() == ["shop"]


async def test_overview_is_shown_again_for_two_seconds(ledger: ConsoleLedger, clock: Moved) -> None:
    first = await ledger.overview(Span.HOUR)
    clock.seconds = 1.9
    second = await ledger.overview(Span.HOUR)
    clock.seconds = 2.1
    third = await ledger.overview(Span.HOUR)

    assert second is first
    assert third is not first


async def test_words_of_newer_versions_harm_nothing(database: Database, app: App, ledger: ConsoleLedger) -> None:
    sms = await retried_and_seen(database, app)
    await database.pool.execute("UPDATE ledger.delivery SET reason = 99, receipt = 9 WHERE id = $1", sms.id)
    await database.pool.execute(
        "INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind, state) VALUES ($1, $2, $3, 98, 97)",
        sms.claimed.notification_id,
        sms.id,
        app.app_id,
    )

    facts = await ledger.notification(sms.claimed.notification_id)

    assert facts is not None
    assert facts.deliveries[0].reason == Reason(99)
    assert facts.deliveries[0].events[-1].kind == EventKind(98)
    assert facts.found.priority is Priority.NORMAL


async def test_ledger_away_is_unavailable() -> None:
    clock = Moved(datetime.now(UTC))
    async with pool("postgresql://nobody@127.0.0.1:1/none", size=1, application="test") as nowhere:
        ledger = ConsoleLedger(nowhere, lambda: ConfigCache(nowhere, with_lanes=True).snapshot, clock)
        for asked in (ledger.overview(Span.HOUR), ledger.search("x", ""), ledger.notification(uuid4()), ledger.apps()):
            with pytest.raises(LedgerUnavailable):
                await asked
