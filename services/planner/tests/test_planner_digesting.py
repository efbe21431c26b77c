"""Digest windows as a planner closes them."""

from datetime import timedelta
from uuid import UUID

import pytest_asyncio

from clarion.category.v1.category_service_pb2 import Category
from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.content_pb2 import SmsContent
from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger import admin
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import load, plan
from clarion_planner.digesting import Digests
from clarion_planner.domain import Content
from clarion_planner.ports import RenderedTemplate, RenderQuery
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, literal, plant, templated

SMS = Channel.SMS


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    made = await plant(database.pool, app)
    category = Category(name="likes")
    category.digest_window.FromTimedelta(timedelta(minutes=10))
    made.app.categories["likes"] = await admin.put_category(made.pool, app.app_id, category)
    await made.config.refresh()
    made.templates.answer = text_of_data
    return made


def text_of_data(query: RenderQuery) -> RenderedTemplate:
    digest = query.data.fields["digest"].struct_value.fields
    items = [item.struct_value.fields["n"].string_value for item in digest["items"].list_value.values]
    text = f"{int(digest['count'].number_value)}: {','.join(items)}"
    return RenderedTemplate(4, {SMS: Content(Rendered(sms=SmsContent(text=text)).SerializeToString())})


def closer(p: Plant) -> Digests:
    return Digests(p.pool, KeyRing(p.pool, p.app.keys._wrapper), p.config, p.templates, None)


def like(number: str, key: str = "post-7") -> Notification:
    notification = templated(SMS)
    notification.template.data.fields["n"].string_value = number
    notification.digest_key = key
    return notification


async def joined(p: Plant, *notifications: Notification) -> list[UUID]:
    """Plan one after the other; gives the deliveries."""
    ids = []
    for notification in notifications:
        sources = await load(p.pool, await p.accept(notification, category="likes"))
        plans = await p.rules.plans(sources)
        await plan(p.pool, plans)
        ids += [delivery.delivery_id for one in plans for delivery in one.deliveries]
    return ids


async def ended(p: Plant) -> None:
    await p.pool.execute(
        "UPDATE ledger.digest SET due_at = now() - interval '1 second' WHERE app_id = $1", p.app.app_id
    )


async def state(p: Plant, id_: UUID) -> tuple[int, int]:
    row = await p.pool.fetchrow(
        """SELECT coalesce(w.state, d.state), d.reason FROM ledger.delivery d
           LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id WHERE d.id = $1""",
        id_,
    )
    assert row is not None
    return row[0], row[1]


async def text(p: Plant, id_: UUID) -> str:
    sealed = await p.pool.fetchval("SELECT content FROM ledger.delivery_body WHERE id = $1", id_)
    sealer = await p.app.keys.sealer(p.app.app_id)
    return Rendered.FromString(sealer.open("delivery", id_.bytes, "content", sealed)).sms.text


async def test_newest_goes_with_the_data_of_all(p: Plant) -> None:
    first, second, third = await joined(p, like("a"), like("b"), like("c"))
    assert await text(p, first) == "1: a"
    await ended(p)

    assert await closer(p).close_due() == 1

    assert await state(p, third) == (DeliveryState.READY, 0)
    assert await text(p, third) == "3: c,b,a"
    assert [await state(p, id_) for id_ in (first, second)] == [(DeliveryState.SUPPRESSED, Reason.MERGED)] * 2


async def test_digest_tells_times_in_the_zone_its_recipient_has_at_the_end(p: Plant) -> None:
    usual = p.preferences.answer
    zones = iter(("Asia/Seoul", "Europe/Berlin"))
    p.preferences.answer = lambda query: usual(query)._replace(time_zone=next(zones))
    await joined(p, like("a"), like("b"))
    await ended(p)
    p.templates.asked.clear()

    await closer(p).close_due()

    assert [query.time_zone for query in p.templates.asked] == ["Europe/Berlin"]


async def test_lonely_member_goes_as_it_was_planned(p: Plant) -> None:
    [only] = await joined(p, like("a"))
    await ended(p)
    p.templates.asked.clear()

    await closer(p).close_due()

    assert (await state(p, only), await text(p, only)) == ((DeliveryState.READY, 0), "1: a")
    assert p.templates.asked == []


async def test_literal_content_goes_as_the_newest_says_it(p: Plant) -> None:
    notification = literal(SMS)
    notification.digest_key = "post-7"
    first, second = await joined(p, notification, notification)
    await ended(p)

    await closer(p).close_due()

    assert (await state(p, first))[1] == Reason.MERGED
    assert await text(p, second) == "Order 7"


async def test_digest_that_cannot_be_rendered_goes_as_its_newest(p: Plant) -> None:
    first, second = await joined(p, like("a"), like("b"))
    await ended(p)
    p.templates.answer = lambda query: RenderedTemplate(4, {SMS: Content(failure="TOO_LARGE: data")})

    await closer(p).close_due()

    assert (await state(p, first))[1] == Reason.MERGED
    assert await text(p, second) == "1: b"


async def test_digest_of_an_app_that_was_switched_off_ends_suppressed(p: Plant) -> None:
    ids = await joined(p, like("a"), like("b"))
    await ended(p)
    await p.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", p.app.app_id)
    await p.config.refresh()

    await closer(p).close_due()

    assert [await state(p, id_) for id_ in ids] == [(DeliveryState.SUPPRESSED, Reason.APP_DISABLED)] * 2


async def test_payload_that_is_kept_no_more_costs_nobody_the_digest(p: Plant) -> None:
    first, second = await joined(p, like("a"), like("b"))
    await ended(p)
    await p.pool.execute(
        """DELETE FROM ledger.notification_body b USING ledger.delivery d
           WHERE b.id = d.notification_id AND d.id = $1""",
        second,
    )

    await closer(p).close_due()

    assert (await state(p, first))[1] == Reason.MERGED
    assert await state(p, second) == (DeliveryState.READY, 0)


async def test_window_whose_members_were_all_cancelled_is_gone(p: Plant) -> None:
    await joined(p, like("a"))
    await p.pool.execute("DELETE FROM ledger.delivery_work WHERE app_id = $1", p.app.app_id)
    await ended(p)

    await closer(p).close_due()

    assert await p.pool.fetchval("SELECT count(*) FROM ledger.digest WHERE app_id = $1", p.app.app_id) == 0
