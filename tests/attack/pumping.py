"""SMS pumping: thousands of texts to numbers of one range, which somebody is paid for; and as many to ranges all over a
country. A budget with `stops_critical` bounds both, and a burst is told."""

import asyncio
import urllib.request
from contextlib import aclosing, suppress
from datetime import timedelta

from clarion.budget.v1.budget_service_pb2 import BUDGET_PERIOD_DAY, SmsBudget
from clarion.category.v1.category_service_pb2 import Category
from clarion_client import Channel, Content, Notification, Recipient, Sent, addresses
from clarion_kit.telemetry import names
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_testkit.shop import Shop, open_shop

from .finding import Finding, Size
from .polling import until
from .stage import Stage

NAME = "pumping"
APP = "pumped"
CATEGORY = "codes"
NUMBERS = {Size.SHORT: 300, Size.FULL: 5_000}
BUDGET_SEGMENTS = {Size.SHORT: 260, Size.FULL: 1_500}
BURST_NUMBERS = 200
"""The planner's setting: what one range may have in ten minutes."""
BATCH = {Size.SHORT: 50, Size.FULL: 100}
"""Handed in at a time, each planned before the next, as sign-up forms are filled in."""
WITHIN = timedelta(minutes=5)


async def attack(stage: Stage, size: Size) -> Finding:
    """One range until it is held back, then all others until the budget is used up. Raises ClarionError, TimeoutError."""
    escapes: list[str] = []
    async with open_shop(stage.stack, APP) as shop:
        budget = SmsBudget(country="KR", segments=BUDGET_SEGMENTS[size], period=BUDGET_PERIOD_DAY, stops_critical=True)
        await stage.operator.budgets.put(APP, budget)
        await shop.client.categories.put(Category(name=CATEGORY, critical=True))
        app_id = await stage.pool.fetchval("SELECT app_id FROM ledger.app WHERE name = $1", APP)
        await _until_planners_know(stage, shop, app_id)
        before = await _sent(stage, app_id)
        one_range = [f"+82101234{number:04}" for number in range(NUMBERS[size])]
        everywhere = [f"+8210{2_000 + number % 5_000:04}{number:04}" for number in range(NUMBERS[size])]
        await _pump(stage, shop, app_id, "range", one_range, BATCH[size])
        after_range = await _sent(stage, app_id) - before
        held = await _held(stage, app_id)
        await _pump(stage, shop, app_id, "everywhere", everywhere, BATCH[size])
        after_all = await _sent(stage, app_id) - before
        capped = await _capped(stage, app_id)
    bursts = await asyncio.to_thread(_counted, stage.stack.endpoints.metrics["planner"])
    if not held:
        escapes.append("pumping: no range is held back")
    if not bursts:
        escapes.append("pumping: no burst is told")
    if not 0 < after_all < capped:
        escapes.append(f"pumping: {after_all} were sent and {capped} stopped")
    if after_range > BURST_NUMBERS + BATCH[size]:
        escapes.append(f"pumping: {after_range} texts to numbers of one range were sent")
    if after_all > BUDGET_SEGMENTS[size]:
        escapes.append(f"pumping: {after_all} texts were sent of a budget of {BUDGET_SEGMENTS[size]}")
    return Finding(
        NAME,
        len(one_range) + len(everywhere),
        escapes,
        {
            "sent_to_one_range": after_range,
            "sent_in_all": after_all,
            "stopped": capped,
            "ranges_held": held,
            "bursts_told": bursts,
        },
    )


async def _until_planners_know(stage: Stage, shop: Shop, app_id: int) -> None:
    """Budgets and categories reach the planner within two seconds; the first text that draws on the budget shows it."""
    await shop.client.recipients.upsert(Recipient(recipient_id="first", addresses=[addresses.phone("+821099990000")]))
    async with asyncio.timeout(WITHIN.total_seconds()):
        while not await stage.pool.fetchval("SELECT sum(used) FROM ledger.sms_budget WHERE app_id = $1", app_id):
            await shop.client.send(
                recipients=["first"],
                category=CATEGORY,
                channels=[Channel.SMS],
                content=Content(sms="Your code: 123456"),
            )
            await _until_ended(stage, app_id)


async def _pump(stage: Stage, shop: Shop, app_id: int, name: str, numbers: list[str], batch: int) -> None:
    await shop.client.recipients.upsert_many(
        Recipient(recipient_id=f"{name}-{place}", addresses=[addresses.phone(number)])
        for place, number in enumerate(numbers)
    )
    for start in range(0, len(numbers), batch):
        codes = [
            Notification(
                recipients=[f"{name}-{place}"],
                category=CATEGORY,
                channels=[Channel.SMS],
                content=Content(sms="Your code: 123456"),
            )
            for place in range(start, min(start + batch, len(numbers)))
        ]
        async with aclosing(shop.client.send_many(codes)) as outcomes:
            async for outcome in outcomes:
                if not isinstance(outcome, Sent):
                    raise outcome
        await _until_ended(stage, app_id)


async def _until_ended(stage: Stage, app_id: int) -> None:
    async def ended() -> bool:
        return not await stage.pool.fetchval(
            """SELECT EXISTS (SELECT FROM ledger.plan_work WHERE app_id = $1)
                   OR EXISTS (SELECT FROM ledger.delivery_work WHERE app_id = $1)""",
            app_id,
        )

    await until(ended, WITHIN)


async def _held(stage: Stage, app_id: int) -> int:
    """Ranges that are held back for all planners; the one that noticed writes them down within a second or two."""

    async def counted() -> int:
        return int(await stage.pool.fetchval("SELECT count(*) FROM ledger.sms_burst WHERE app_id = $1", app_id))

    with suppress(TimeoutError):
        await until(counted)
    return await counted()


async def _sent(stage: Stage, app_id: int) -> int:
    """Texts that left, whatever the carrier made of them."""
    return int(
        await stage.pool.fetchval(
            "SELECT count(*) FROM ledger.delivery WHERE app_id = $1 AND state <> $2", app_id, DeliveryState.SUPPRESSED
        )
    )


async def _capped(stage: Stage, app_id: int) -> int:
    """Texts that a budget or a burst stopped."""
    return int(
        await stage.pool.fetchval(
            "SELECT count(*) FROM ledger.delivery WHERE app_id = $1 AND reason = $2", app_id, Reason.CAPPED
        )
    )


def _counted(metrics_url: str) -> float:
    """Bursts that the planner told of."""
    with urllib.request.urlopen(metrics_url, timeout=30) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names.SMS_BURSTS.name))
